import { svg, type SVGTemplateResult } from "lit";

const filled = (shape: SVGTemplateResult): SVGTemplateResult =>
  svg`<svg class="icon" viewBox="0 0 16 16" fill="currentColor" aria-hidden="true">${shape}</svg>`;

const drawn = (shape: SVGTemplateResult): SVGTemplateResult =>
  svg`<svg class="icon" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"
    stroke-linejoin="round" aria-hidden="true">${shape}</svg>`;

export const logo = svg`<svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
  <rect width="32" height="32" rx="8" fill="#0f766e"/>
  <path d="M8 21.5V12a3 3 0 0 1 3-3h10a3 3 0 0 1 3 3v9.5" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round"/>
  <circle cx="12.6" cy="15.4" r="1.9" fill="#fff"/><circle cx="19.4" cy="15.4" r="1.9" fill="#fff"/>
  <path d="M6.5 24h19" stroke="#5eead4" stroke-width="2.6" stroke-linecap="round"/></svg>`;

/** Shapes as well as colours, since not everybody sees the colours. */
export const shapes = {
  disc: filled(svg`<circle cx="8" cy="8" r="5"/>`),
  half: drawn(svg`<circle cx="8" cy="8" r="4.6"/><path d="M8 3.4a4.6 4.6 0 0 1 0 9.2z" fill="currentColor"/>`),
  ring: drawn(svg`<circle cx="8" cy="8" r="4.6"/>`),
  dots: drawn(svg`<circle cx="8" cy="8" r="4.6" stroke-dasharray="1 3"/>`),
  play: filled(svg`<path d="M4.5 3v10l8.5-5z"/>`),
  pause: filled(svg`<path d="M4 3.5h3v9H4zM9 3.5h3v9H9z"/>`),
  dash: drawn(svg`<path d="M4 8h8"/>`),
  square: filled(svg`<rect x="3.5" y="3.5" width="9" height="9" rx="1.5"/>`),
  up: drawn(svg`<path d="M8 13V4M4.5 7.2 8 3.6l3.5 3.6"/>`),
  diamond: filled(svg`<path d="m8 2.2 5.8 5.8L8 13.8 2.2 8z"/>`),
  alert: filled(svg`<path fill-rule="evenodd" d="M8 1.8 15 14H1zM7.2 6v4h1.6V6zm0 5.2v1.6h1.6v-1.6z"/>`),
  stop: filled(svg`<path fill-rule="evenodd" d="M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2zM4.5 7v2h7V7z"/>`),
  hand: drawn(
    svg`<path d="M5 8V4.2a1 1 0 0 1 2 0V8M7 7.5V3a1 1 0 0 1 2 0v4.5M9 7.5V4a1 1 0 0 1 2 0v5.5c0 2.5-1.5 4-3.8 4-1.7 0-2.7-.9-3.5-2.3L2.6 9"/>`,
  ),
  shield: drawn(svg`<path d="M8 1.8 13 4v4c0 3-2 5.2-5 6.2C5 13.2 3 11 3 8V4z"/>`),
};

export const signs = {
  sun: drawn(
    svg`<circle cx="8" cy="8" r="2.8"/><path d="M8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9"/>`,
  ),
  moon: drawn(svg`<path d="M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z"/>`),
  auto: drawn(svg`<circle cx="8" cy="8" r="5.6"/><path d="M8 2.4a5.6 5.6 0 0 1 0 11.2z" fill="currentColor"/>`),
  fit: drawn(svg`<path d="M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10"/>`),
  left: drawn(svg`<path d="M9.5 3.5 5 8l4.5 4.5"/>`),
  right: drawn(svg`<path d="M6.5 3.5 11 8l-4.5 4.5"/>`),
  minus: drawn(svg`<path d="M3.5 8h9"/>`),
  plus: drawn(svg`<path d="M8 3.5v9M3.5 8h9"/>`),
  cross: drawn(svg`<path d="m4 4 8 8M12 4l-8 8"/>`),
  copy: drawn(svg`<rect x="5.5" y="5.5" width="8" height="8" rx="1.5"/><path d="M10.5 3.5v-1h-8v8h1"/>`),
  bolt: filled(svg`<path d="M9 1 3.5 9H7l-1 6 5.5-8H8z"/>`),
  down: drawn(svg`<path d="m4.5 6.5 3.5 3.5 3.5-3.5"/>`),
  chart: drawn(svg`<path d="M2.5 12.5 6 8l3 2.5 4.5-6"/>`),
  search: drawn(svg`<circle cx="7" cy="7" r="4.2"/><path d="m10.2 10.2 3.3 3.3"/>`),
};
