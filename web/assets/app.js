// The page of Legate. What it is made of: lib has what draws nothing, parts what several pages
// show, pages one file for each; thirdparty is Preact and htm. The browser runs these files as
// they stand; those of the first page come with it, those of another when it is opened.
import { html, render, useEffect, useRef, useState } from './lib/dom.js'
import { Fault } from './lib/api.js'
import { useRoute, start, path } from './lib/router.js'
import { Shell, startTheme } from './parts/shell.js'
import { Empty, Failure, Loading } from './parts/notice.js'
import { FederationPage } from './pages/federation.js'

// pages are their titles, and how what draws them is had.
const pages = {
  federation: ['Federation', FederationPage],
  services: ['Services', later(() => import('./pages/services.js'), 'ServicesPage')],
  service: ['Service', later(() => import('./pages/service.js'), 'ServicePage')],
  instance: ['Instance', later(() => import('./pages/instance.js'), 'InstancePage')],
  nodes: ['Nodes', later(() => import('./pages/nodes.js'), 'NodesPage')],
  node: ['Node', later(() => import('./pages/node.js'), 'NodePage')],
  kv: ['Keys', later(() => import('./pages/keys.js'), 'KeysPage')],
  servers: ['Servers', later(() => import('./pages/servers.js'), 'ServersPage')],
  sessions: ['Sessions', later(() => import('./pages/sessions.js'), 'SessionsPage')],
  events: ['Events', later(() => import('./pages/events.js'), 'EventsPage')],
  queries: ['Prepared queries', later(() => import('./pages/queries.js'), 'QueriesPage')],
  dns: ['DNS', later(() => import('./pages/dns.js'), 'DNSPage')],
  access: ['Access', later(() => import('./pages/access.js'), 'AccessPage')],
  agent: ['Agent', later(() => import('./pages/agent.js'), 'AgentPage')],
}

// later is a component whose module is loaded when it is first drawn.
function later(load, name) {
  let loaded
  return function Later(props) {
    const [Page, set] = useState(() => loaded), [error, fail] = useState()
    useEffect(() => {
      if (loaded) return
      load().then(m => { loaded = m[name]; set(() => loaded) },
        () => fail(new Fault('lost', 'The agent does not answer', 'This page is not loaded yet. Load it again when the agent is there.')))
    }, [])
    if (!Page) return error ? html`<${Failure} error=${error} />` : html`<${Loading} what="the page" />`
    return html`<${Page} ...${props} />`
  }
}

const Unknown = () => html`<h1>Not found</h1><${Empty} title="There is no such page"><p>Go to the <a href=${path()}>federation</a>.</p></${Empty}>`

function App() {
  const route = useRoute(), first = useRef(true)
  const [title, Page] = pages[route.page] ?? ['Not found', Unknown]
  useEffect(() => {
    document.title = [route.id ?? route.name ?? route.search.get('key'), title, 'Legate'].filter(Boolean).join(' · ')
    if (!first.current) document.getElementById('main').focus({ preventScroll: true }) // a reader of the screen begins with the new page
    first.current = false
  }, [route.address])
  return html`<${Shell} page=${route.page}><${Page} key=${['services', 'nodes', 'sessions'].includes(route.page) ? route.page : route.address} route=${route} /></${Shell}>`
}

startTheme()
start()
render(html`<${App} />`, document.getElementById('app'))
