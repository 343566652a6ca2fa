// What stands where something else was expected: errors with what to do, nothing, still loading.
import { html } from '../lib/dom.js'
import { span } from '../lib/fmt.js'
import { Icon } from './state.js'
import { openToken } from './token.js'

const mild = new Set(['unreachable', 'busy', 'leader'])

// Failure is a Fault, with what to do about it.
export const Failure = ({ error, kept }) => html`<div class=${'notice ' + (mild.has(error.kind) ? 'warn' : 'bad')} role="alert">
  <${Icon} state=${mild.has(error.kind) ? 'warning' : 'critical'} size=${20} />
  <div><p class="what">${error.message}</p>
    <p>${error.hint}${kept ? ` What is shown is what was known ${span((Date.now() - kept.at) / 1000 + kept.age)} ago.` : ''}</p>
    ${(error.kind === 'denied' || error.kind === 'token') && html`<p><button type="button" onClick=${openToken}>Give a token</button></p>`}
  </div>
</div>`

export const Empty = ({ title, children }) => html`<div class="empty"><p class="what">${title}</p>${children}</div>`

export const Loading = ({ what }) => html`<div class="empty" role="status"><p>Asking for ${what} …</p></div>`

// Hidden says that the token may not see everything.
export const Hidden = ({ metas }) => metas.some(m => m?.hidden) && html`<p class="hidden-note"><${Icon} state="unknown" /> Some of it is not shown: the token may not see it. <button type="button" class="link" onClick=${openToken}>Give another token</button></p>`

// Aged says of which datacenters the answers are old, because they cannot be reached.
export function Aged({ of }) {
  const old = of.filter(({ state }) => state.meta?.age > 3 || (state.error && state.data !== undefined))
  if (old.length === 0) return null
  return html`<p class="hidden-note warn"><${Icon} state="warning" /> ${old.map(({ dc, state }, i) =>
    html`${i > 0 && ', '}${dc} as it was ${span(state.meta.age + (Date.now() - state.meta.at) / 1000)} ago`)}: not reached since.</p>`
}
