// A text with a button that copies it.
import { html, useState } from '../lib/dom.js'

// copied puts a text where it can be pasted from.
export async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text) // pages that came over plain HTTP from elsewhere have none
  const field = Object.assign(document.createElement('textarea'), { value: text })
  document.body.append(field)
  field.select()
  document.execCommand('copy')
  field.remove()
}

export function Copy({ text }) {
  const [done, set] = useState(false)
  const take = () => copied(text).then(() => { set(true); setTimeout(() => set(false), 1500) }, () => {})
  return html`<span class="copy"><code>${text}</code><button type="button" class="small" onClick=${take} aria-label=${`Copy ${text}`}>${done ? 'Copied' : 'Copy'}</button></span>`
}
