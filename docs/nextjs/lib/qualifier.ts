import type { Field } from "@/components/form";
import type { components } from "@/lib/schema";

type User = components["schemas"]["UserRead"];
type Slot = NonNullable<User["meeting_availability"]>["slots"][number];

export const DAYS: Slot["day"][] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
export const ROWS = [1, 2, 3];

export function timeFields({ max_available_hours: hours, meeting_availability: week }: User): Field[] {
  const slots = ROWS.flatMap((row) => {
    const slot = week?.slots[row - 1];
    const options = DAYS.map((day) => ({ value: day, label: day }));
    return [
      { name: `day ${row}`, label: `Day ${row}`, value: slot?.day, options },
      { name: `start ${row}`, label: `Start ${row}`, value: slot?.start },
      { name: `end ${row}`, label: `End ${row}`, value: slot?.end },
    ];
  });
  return [
    { name: "max_available_hours", label: "Hours a week, at most", type: "number", value: String(hours ?? "") },
    { name: "timezone", label: "Time zone", value: week?.timezone ?? "America/Los_Angeles" },
    ...slots,
  ];
}
