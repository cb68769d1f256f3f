/* Elements without markup: text is text, whatever a client sent as a tag. */

/* h("a", {href, class}, child, ...): null and false are left out, attributes and children. */
export function h(name, attributes = {}, ...children) {
    const element = document.createElement(name);

    for (const [key, value] of Object.entries(attributes)) {
        if (value === null || value === undefined || value === false)
            continue;
        if (key.startsWith("on"))
            element.addEventListener(key.slice(2), value);
        else
            element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
    return element;
}

export const byId = (id) => document.getElementById(id);

/* For a screen reader, when what is seen has changed. */
export function say(text) {
    byId("said").textContent = text;
}

let last = 0;
export const freshId = (stem) => `${stem}-${++last}`;
