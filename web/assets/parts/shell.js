// What stands around each page: the bar with its pages, help, token, and light or dark.
import { html, useEffect, useRef, useState } from '../lib/dom.js'
import { path } from '../lib/router.js'
import { settings } from '../lib/settings.js'
import { shortcuts, startKeys, keysOn, setKeys } from '../lib/keys.js'
import { TokenDialog, openToken, useToken } from './token.js'

const nav = [['Federation', path(), ['federation']], ['Services', path('services'), ['services', 'service', 'instance']], ['Nodes', path('nodes'), ['nodes', 'node']], ['Keys', path('kv'), ['kv']], ['Servers', path('servers'), ['servers']], ['Sessions', path('sessions'), ['sessions']], ['Events', path('events'), ['events']], ['Queries', path('queries'), ['queries']], ['DNS', path('dns'), ['dns']], ...(settings.access ? [['Access', path('access'), ['access']]] : [])]

const themeKey = 'legate.theme'
const dark = () => (document.documentElement.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark'

// startTheme takes the choice of an earlier visit; without one the system decides.
export function startTheme() {
  const chosen = localStorage.getItem(themeKey)
  if (chosen) document.documentElement.dataset.theme = chosen
}

function Theme() {
  const [is, set] = useState(dark())
  useEffect(() => {
    const system = matchMedia('(prefers-color-scheme: dark)'), look = () => set(dark())
    system.addEventListener('change', look)
    return () => system.removeEventListener('change', look)
  }, [])
  const turn = () => {
    const theme = dark() ? 'light' : 'dark'
    document.documentElement.dataset.theme = theme
    localStorage.setItem(themeKey, theme)
    set(dark())
  }
  return html`<button type="button" class="tool" onClick=${turn} aria-label=${is ? 'Light colours' : 'Dark colours'} title=${is ? 'Light colours' : 'Dark colours'}>
    <svg width="18" height="18" viewBox="0 0 18 18" aria-hidden="true" class="line">${is ? html`<circle cx="9" cy="9" r="3.5" /><path d="M9 1v2M9 15v2M1 9h2M15 9h2M3.3 3.3l1.5 1.5M13.2 13.2l1.5 1.5M3.3 14.7l1.5-1.5M13.2 4.8l1.5-1.5" />` : html`<path d="M15 11A6.6 6.6 0 0 1 7 3a6.6 6.6 0 1 0 8 8z" />`}</svg></button>`
}

function Help({ opened }) {
  const dialog = useRef()
  const [on, set] = useState(keysOn())
  useEffect(() => { opened.current = () => dialog.current.showModal() }, [])
  return html`<dialog ref=${dialog} class="dialog" aria-labelledby="help-title">
    <h2 id="help-title">Keys</h2>
    <table class="keys"><tbody>${shortcuts.map(([k, what]) => html`<tr><th scope="row">${k.split(' ').map(c => html`<kbd>${c}</kbd> `)}</th><td>${what}</td></tr>`)}</tbody></table>
    <label class="check"><input type="checkbox" checked=${on} onChange=${e => { setKeys(e.target.checked); set(e.target.checked) }} /> Keys are on</label>
    <p class="muted">Everything here is read from this agent's HTTP API, with the rights of your token. Symbols: a tick is well, a triangle is a warning, an octagon is critical, a dashed line or <em>cut</em> is not reached.</p>
    <div class="buttons"><button type="button" class="primary" onClick=${() => dialog.current.close()}>Close</button></div>
  </dialog>`
}

export function Shell({ page, children }) {
  const help = useRef(() => {}), held = useToken()
  useEffect(() => startKeys(() => help.current()), [])
  return html`
    <a class="skip" href="#main" onClick=${e => { e.preventDefault(); document.getElementById('main').focus() }}>Skip to the page</a>
    <header class="top"><div class="inner">
      <a class="brand" href=${path()}><svg width="24" height="24" viewBox="0 0 32 32" aria-hidden="true"><path d="M9 22 16 9l8 11z" /><circle cx="9" cy="22" r="4" /><circle cx="16" cy="9" r="4" /><circle cx="24" cy="20" r="4" /></svg>Legate</a>
      <nav aria-label="Pages">${nav.map(([name, to, pages]) => html`<a href=${to} aria-current=${pages.includes(page) ? 'page' : undefined}>${name}</a>`)}</nav>
      <div class="tools">
        <a class="agent" href=${path('agent')} aria-current=${page === 'agent' ? 'page' : undefined} title="The agent that answers this page">${settings.node} <span class="muted">in</span> ${settings.datacenter}</a>
        ${(settings.access || held) && html`<button type="button" class="tool wide" onClick=${openToken}>${held ? 'Token' : 'Give a token'}</button>`}
        <${Theme} />
        <button type="button" class="tool" onClick=${() => help.current()} aria-label="Keys and help" title="Keys and help">?</button>
      </div>
    </div></header>
    <main id="main" tabindex="-1">${children}</main>
    <footer class="foot">Legate ${settings.version}</footer>
    <${TokenDialog} /><${Help} opened=${help} />`
}
