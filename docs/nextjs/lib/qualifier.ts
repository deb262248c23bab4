import type { Field } from "@/components/form";
import { rowsFor } from "@/lib/form";
import type { components } from "@/lib/schema";

type User = components["schemas"]["UserRead"];
type Slot = NonNullable<User["meeting_availability"]>["slots"][number];

export const DAYS: Slot["day"][] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const PLACE = /^slots\[(\d+)\]\.(\w+): (.*)$/;

/** Puts what is wrong with a slot beside the control that it was entered in. */
export function besideRows({ meeting_availability: texts = [], ...fields }: Record<string, string[]>, rows: string[]) {
  const others = texts.filter((text) => !PLACE.test(text));
  const placed = texts.flatMap((text) => {
    const [, slot, part, message] = PLACE.exec(text) ?? [];
    return message ? [[`${part} ${rows[Number(slot)]}`, [message]] as const] : [];
  });
  return { ...fields, ...Object.fromEntries(placed), ...(others.length > 0 && { meeting_availability: others }) };
}

export function timeFields({ max_available_hours: hours, meeting_availability: week }: User): Field[] {
  const slots = rowsFor(week?.slots ?? [], 3).flatMap((row) => {
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
