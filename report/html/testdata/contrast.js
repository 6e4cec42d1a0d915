// The contrast of every visible text with what is behind it, as WCAG 2.2 defines it.
(() => {
  const parse = c => {
    const m = c.match(/^rgba?\(([^)]+)\)$/);
    if (!m) throw new Error("colour " + c);
    const [r, g, b, a] = m[1].split(/[ ,/]+/).map(Number);
    return [r, g, b, a === undefined ? 1 : a];
  };
  const luminance = c => {
    const [r, g, b] = c.slice(0, 3).map(x => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] === 1) return c;
      if (c[3] !== 0) throw new Error("a background that is seen through");
    }
    return [255, 255, 255, 1];
  };
  const out = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walker.nextNode(); n; n = walker.nextNode()) {
    const e = n.parentElement;
    if (!n.data.trim() || e.closest("title") || !e.checkVisibility()) continue;
    const s = getComputedStyle(e), svg = e.closest("svg");
    const front = luminance(parse(svg ? s.fill : s.color)), back = luminance(behind(svg || e));
    const size = parseFloat(s.fontSize), large = size >= 24 || size >= 18.66 && parseInt(s.fontWeight) >= 700;
    out.push({
      Text: n.data.trim().slice(0, 60),
      Ratio: (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05),
      Need: large ? 3 : 4.5,
    });
  }
  return out;
})()
