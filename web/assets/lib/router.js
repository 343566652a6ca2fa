// Addresses of pages. They are those of Consul's interface where it has such a page, so that
// bookmarks go on working: /ui/dc1/services/web, /ui/dc1/nodes/n1.
import { useState, useEffect } from './dom.js'
import { settings } from './settings.js'

const base = settings.contentPath
const readers = new Set()

const segments = path => path.slice(base.length).split('/').filter(Boolean).map(s => {
  try { return decodeURIComponent(s) } catch { return s }
})

// operators are pages of a datacenter, or of the agent's own without one, by their addresses.
const operators = new Map([['servers', 'servers'], ['sessions', 'sessions'], ['access', 'access'], ['events', 'events'], ['queries', 'queries'], ['dns', 'dns']])

// parse says which page an address is: { page, dc, name, node, id, key }.
export function parse(path) {
  const s = segments(path)
  if (s.length === 0 || (s.length === 1 && s[0] === 'federation')) return { page: 'federation' }
  if (s.length === 1 && ['services', 'nodes', 'kv'].includes(s[0])) return { page: s[0] }
  if (s.length === 1 && s[0] === 'agent') return { page: 'agent' }
  if (s.length === 1 && operators.has(s[0])) return { page: operators.get(s[0]) }
  const [dc, area, name, item, node, id] = s
  if (area === 'acls') return { page: 'access', dc, name, item }
  if (s.length === 2 && operators.has(area)) return { page: operators.get(area), dc }
  if (s.length === 1 || (area === 'services' && s.length === 2)) return { page: 'services', dc }
  if (area === 'kv') return { page: 'kv', dc, key: keyOf(path) }
  if (area === 'nodes' && s.length === 2) return { page: 'nodes', dc }
  if (area === 'nodes') return { page: 'node', dc, name }
  if (area === 'services' && item === 'instances' && id !== undefined) return { page: 'instance', dc, name, node, id }
  if (area === 'services') return { page: 'service', dc, name }
  return { page: 'unknown' }
}

// keyOf is the key in an address of Consul's interface: /ui/dc1/kv/a/b/edit, /ui/dc1/kv/a/.
function keyOf(path) {
  const rest = path.slice(base.length).split('/').slice(2).map(s => { try { return decodeURIComponent(s) } catch { return s } })
  return (rest.length > 1 && rest.at(-1) === 'edit' ? rest.slice(0, -1) : rest).join('/')
}

// pathOfKey is a key's address. The key is a parameter: browsers change paths with . or // in them.
export const pathOfKey = (dc, key) => path(dc, 'kv') + (key ? '?key=' + encodeURIComponent(key) : '')

// path makes the address of a page of its segments.
export const path = (...parts) => base + parts.map(encodeURIComponent).join('/')

// placeOf is what of an address is another page if it changes; the rest is how it is looked at.
const placeOf = url => url.pathname + '?' + (new URLSearchParams(url.search).get('key') ?? '')

const now = () => ({ ...parse(location.pathname), search: new URLSearchParams(location.search), address: placeOf(location) })

const tell = () => { for (const f of readers) f() }

export function go(address, { replace = false } = {}) {
  if (address === location.pathname + location.search) return
  const other = placeOf(new URL(address, location.href)) !== placeOf(location)
  history[replace ? 'replaceState' : 'pushState'](null, '', address)
  if (other) window.scrollTo(0, 0)
  tell()
}

// setSearch changes parameters of the present address, without another entry in the history.
export function setSearch(changes) {
  const search = new URLSearchParams(location.search)
  for (const [k, v] of Object.entries(changes)) {
    if (v) search.set(k, v)
    else search.delete(k)
  }
  const text = search.toString()
  go(location.pathname + (text ? '?' + text : ''), { replace: true })
}

export function useRoute() {
  const [route, set] = useState(now)
  useEffect(() => {
    const look = () => set(now())
    readers.add(look)
    return () => readers.delete(look)
  }, [])
  return route
}

// start lets links to this page's addresses change the page without loading it anew.
export function start() {
  addEventListener('popstate', tell)
  document.addEventListener('click', e => {
    const a = e.target.closest?.('a[href]')
    if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey || a.hasAttribute('target')) return
    const url = new URL(a.href?.baseVal ?? a.href, location.href) // of SVG it is an object
    if (url.origin !== location.origin || !url.pathname.startsWith(base) || url.hash) return
    e.preventDefault()
    go(url.pathname + url.search)
  })
}
