import type { Span } from "../api/readings";

/** Pixels that a finger may tremble. */
const TREMBLE = 6;

/**
 * Lets people push a chart along in time: with one finger, or with the mouse while Shift is down (the mouse alone marks a
 * span to zoom into). `span` is what is shown (microseconds), `moved` is told where it was pushed to, once per painted
 * frame at most.
 */
export function panning(over: HTMLElement, span: () => Span, moved: (span: Span) => void): void {
  let grip: { x: number; span: Span; perPixel: number } | null = null;
  let frame = 0;

  const move = (event: PointerEvent): void => {
    if (!grip) return;
    const by = event.clientX - grip.x;
    if (Math.abs(by) < TREMBLE && frame === 0) return;
    const { from, to } = grip.span;
    const shift = Math.round(-by * grip.perPixel);
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => moved({ from: from + shift, to: to + shift }));
  };
  const release = (): void => {
    grip = null;
    frame = 0;
  };
  over.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || (event.pointerType !== "touch" && !event.shiftKey)) return;
    const shown = span();
    grip = { x: event.clientX, span: shown, perPixel: (shown.to - shown.from) / Math.max(1, over.clientWidth) };
    over.setPointerCapture(event.pointerId);
  });
  over.addEventListener("pointermove", move);
  over.addEventListener("pointerup", release);
  over.addEventListener("pointercancel", release);
}
