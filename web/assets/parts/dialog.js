// A dialog of one thing; it is there for as long as it is drawn.
import { html, useEffect, useId, useRef } from '../lib/dom.js'

// Dialog calls onClose when it was closed, by its button or by Escape.
export function Dialog({ title, onClose, buttons, children }) {
  const box = useRef(), id = useId()
  const drawn = useRef(true) // the browser tells of a closing later: another one may be open by then
  useEffect(() => { box.current.showModal(); return () => { drawn.current = false } }, [])
  return html`<dialog ref=${box} class="dialog wide-dialog" aria-labelledby=${id} onClose=${() => drawn.current && onClose()}>
    <h2 id=${id}>${title}</h2>${children}
    <div class="buttons">${buttons}<button type="button" onClick=${() => box.current.close()}>Close</button></div></dialog>`
}
