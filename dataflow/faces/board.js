// Asks once a second while somebody looks, and changes only the panels that are not the same.
(() => {
  const root = document.querySelector('.dataflow'), lost = document.getElementById('lost');
  const query = new URLSearchParams(location.search);
  let seen = root.dataset.seen, since = Date.now();
  const show = (panels) => {
    let last = null;
    for (const [name, html] of Object.entries(panels)) {
      let panel = root.querySelector(`[data-panel="${name}"]`);
      if (!panel) {
        panel = document.createElement('section');
        panel.dataset.panel = name;
        const after = root.querySelector(`[data-panel="${last}"]`);
        after ? after.after(panel) : root.prepend(panel);
      }
      if (panel.dataset.html !== html) {
        const scrolled = panel.querySelector('.scroll');
        const [x, y] = scrolled ? [scrolled.scrollLeft, scrolled.scrollTop] : [0, 0];
        panel.innerHTML = panel.dataset.html = html;
        const again = panel.querySelector('.scroll');
        if (again) { again.scrollLeft = x; again.scrollTop = y; }
      }
      last = name;
    }
    for (const panel of root.querySelectorAll('[data-panel]'))
      if (!(panel.dataset.panel in panels)) panel.remove();
  };
  const look = async () => {
    if (!document.hidden) {
      try {
        query.set('seen', seen);
        const answer = await fetch('dataflow/panels?' + query, {signal: AbortSignal.timeout(5000)});
        if (answer.status === 200) {
          const told = await answer.json();
          seen = told.seen;
          show(told.panels);
          document.title = told.title;
        } else if (answer.status !== 204) throw new Error(answer.status);
        since = Date.now();
        lost.hidden = true;
      } catch (error) {
        lost.hidden = false;
        lost.textContent = 'Disconnected: the page has not been answered for ' +
          Math.round((Date.now() - since) / 1000) + ' s. The run itself may go on.';
      }
    }
    setTimeout(look, 1000);
  };
  setTimeout(look, 1000);
})();
