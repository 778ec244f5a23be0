export interface Range {
  first: number;
  last: number;
}

/** Which of `count` rows of equal height can be seen, with a few more on both sides so that scrolling shows no gaps. */
export function visibleRange(count: number, rowHeight: number, top: number, viewport: number, spare = 8): Range {
  const first = Math.max(0, Math.floor(-top / rowHeight) - spare);
  const last = Math.min(count, Math.ceil((viewport - top) / rowHeight) + spare);
  return { first: Math.min(first, count), last: Math.max(last, Math.min(first, count)) };
}
