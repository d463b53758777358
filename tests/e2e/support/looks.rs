//! What the eye sees of a page: whether all of it fits the screen, and whether it can be read.
//!
//! Owns the scripts that look, in the page itself; each answers with everything that it finds wrong.

/// What is wider than the screen, or cut off at its side.
pub const MISFITS: &str = r"
    const found = [];
    const whole = document.scrollingElement.scrollWidth;
    if (whole > innerWidth) found.push(`the page is ${whole} px wide`);
    for (const node of document.querySelectorAll('body *')) {
      if (!node.checkVisibility({ visibilityProperty: true }) || node.closest('svg, .visually-hidden')) continue;
      const name = `${node.tagName} ${node.id || node.className}`;
      const { left, right } = node.getBoundingClientRect();
      if (left < -1 || right > innerWidth + 1) found.push(`${name} reaches from ${left} to ${right}`);
      const cut = getComputedStyle(node).overflowX !== 'visible' && node.scrollWidth > node.clientWidth + 1;
      if (cut) found.push(`${name} is cut off`);
    }
    arguments[0](found);
";

/// Text with less contrast than the 4.5 of WCAG 2.2 (1.4.3), except a password that is covered on purpose.
pub const PALE: &str = r"
    const read = (color) => { const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
    const ground = (node) => {
      const { rgb, a } = read(getComputedStyle(node).backgroundColor);
      if (a === 1) return rgb;
      const below = ground(node.parentElement);
      return rgb.map((c, n) => c * a + below[n] * (1 - a));
    };
    const light = (rgb) => {
      const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    for (const node of document.querySelectorAll('body *')) {
      const said = [...node.childNodes].filter((child) => child.nodeType === 3).map((text) => text.data).join('').trim();
      if (!said || !node.checkVisibility({ visibilityProperty: true })) continue;
      if (node.closest('script, option, .visually-hidden, .masked .secret')) continue;
      const [ink, paper] = [read(getComputedStyle(node).color).rgb, ground(node)].map(light);
      const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      if (contrast < 4.5) found.push(`${said}: ${contrast.toFixed(2)}`);
    }
    arguments[0](found);
";
