// Before the first paint, and therefore neither a module nor part of the bundle.
try {
  const stored = localStorage.getItem("botyard.theme");
  if (stored === "light" || stored === "dark") document.documentElement.dataset.theme = stored;
} catch {
  // Storage is switched off: the system's preference decides.
}
