// Where a key or folder is: its title and the folders that it is in.
import { html } from '../lib/dom.js'
import { pathOfKey } from '../lib/router.js'

export function KeyTitle({ dc, of, title }) {
  const parts = of.split('/').slice(0, -1), to = i => parts.slice(0, i + 1).join('/') + '/'
  const steps = parts.map((s, i) => to(i) !== of && html` / <a href=${pathOfKey(dc, to(i))}>${s || '(empty)'}</a>`)
  return html`<div class="title"><p class="crumbs"><a href=${pathOfKey(dc, '')}>${dc}</a>${steps}</p><h1>${title}</h1></div>`
}
