export type Route =
  | { page: "fleet" }
  | { page: "robot"; id: string }
  | { page: "events" }
  | { page: "store" }
  | { page: "hub" }
  | { page: "missing"; path: string };

export function parse(path: string): Route {
  const parts = path.split("/").filter(Boolean);
  if (parts.length === 0) return { page: "fleet" };
  if (parts.length === 2 && parts[0] === "robots" && parts[1]) {
    const id = decoded(parts[1]);
    if (id !== null) return { page: "robot", id };
  }
  const [only] = parts;
  if (parts.length === 1 && (only === "events" || only === "store" || only === "hub")) return { page: only };
  return { page: "missing", path };
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

export const robotPath = (id: string): string => `/robots/${encodeURIComponent(id)}`;

const CHANGED = "botyard:navigated";

/** Go to an address of this dashboard. */
export function navigate(path: string): void {
  history.pushState(null, "", path);
  window.dispatchEvent(new Event(CHANGED));
}

/** Change the query of this page without a new entry in the history; null removes a name. */
export function replaceQuery(changes: Record<string, string | readonly string[] | null>): void {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    url.searchParams.delete(name);
    if (value === null) continue;
    for (const item of typeof value === "string" ? [value] : value) url.searchParams.append(name, item);
  }
  if (url.href !== location.href) history.replaceState(null, "", url);
}

/** Call `listener` at every change of the address' path. Returns the function that ends it. */
export function onNavigated(listener: () => void): () => void {
  window.addEventListener(CHANGED, listener);
  window.addEventListener("popstate", listener);
  return () => {
    window.removeEventListener(CHANGED, listener);
    window.removeEventListener("popstate", listener);
  };
}

/** Whether a click on a link is ours to handle: a plain one, on a page of the dashboard. */
export function isOwnLink(event: MouseEvent, link: HTMLAnchorElement): boolean {
  if (event.defaultPrevented || event.button !== 0) return false;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return false;
  if (link.target || link.hasAttribute("download") || link.origin !== location.origin) return false;
  return parse(link.pathname).page !== "missing";
}
