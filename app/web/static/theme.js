// Sets the theme that was chosen before anything is drawn; no choice means the system's.
(() => {
  const chosen = localStorage.getItem("graftwork.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
