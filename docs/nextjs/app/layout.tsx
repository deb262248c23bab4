import type { Metadata } from "next";
import Link from "next/link";
import { type ReactNode, Suspense } from "react";
import { Header } from "@/components/header";
import "./globals.css";

export const metadata: Metadata = { title: { default: "Civic Tech Jobs", template: "%s · Civic Tech Jobs" } };

export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <header>
          <nav aria-label="Site">
            <Link href="/">Civic Tech Jobs</Link>
            <Link href="/opportunities">Opportunities</Link>
            <Suspense>
              <Header />
            </Suspense>
          </nav>
        </header>
        <main>{children}</main>
      </body>
    </html>
  );
}
