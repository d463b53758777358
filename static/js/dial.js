// The dial: a ring on which the lit arc is the time of a lease, on a scale of the longest one that can be asked for.

const FULL = 1000; // pathLength of the arc in the markup

/** Lights this part (0 to 1) of the dial inside `root`. */
export function lightDial(root, part) {
  const lit = Math.round(Math.min(1, Math.max(0, part)) * FULL);
  const arc = root.querySelector(".dial-arc");
  const value = `${lit} ${FULL}`;
  if (arc.getAttribute("stroke-dasharray") !== value) arc.setAttribute("stroke-dasharray", value);
}

/** Turns the arc while something is under way whose end is not known. */
export function turnDial(root, turning) {
  root.classList.toggle("turning", turning);
}
