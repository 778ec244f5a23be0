/** A whole number of things, with the thousands set apart: "12,400". */
export const count = (value: number): string => Math.round(value).toLocaleString("en-US");

/** "1 message", "12,400 messages". */
export const counted = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${Math.round(value) === 1 ? one : many}`;
