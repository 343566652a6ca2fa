// What the token in use may do, asked of the server before a button is shown.
import { useEffect, useState } from '../lib/dom.js'
import { ask } from '../lib/api.js'
import { useToken } from './token.js'

const again = 3000 // milliseconds after a question that was not answered

// useMay reports whether the token in use has a right in a datacenter; undefined while that is not
// known, or not asked.
export function useMay(dc, resource, access, asked = true) {
  const held = useToken(), [may, set] = useState()
  useEffect(() => {
    set(undefined)
    if (!asked) return
    const end = new AbortController(), body = JSON.stringify([{ Resource: resource, Access: access }])
    let timer
    const look = () => ask('internal/acl/authorize', { method: 'POST', params: { dc }, body, signal: end.signal })
      .then(({ data }) => set(data[0].Allow),
        error => { if (!end.signal.aborted && error.kind !== 'token') timer = setTimeout(look, again) })
    look()
    return () => { end.abort(); clearTimeout(timer) }
  }, [dc, held, resource, access, asked])
  return may
}
