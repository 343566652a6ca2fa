// What the token in use may do, asked of the server before a button is shown.
import { useEffect, useState } from '../lib/dom.js'
import { ask } from '../lib/api.js'
import { useToken } from './token.js'

// useMay reports whether the token in use has a right in a datacenter; undefined while that is not
// known, or not asked.
export function useMay(dc, resource, access, asked = true) {
  const held = useToken(), [may, set] = useState()
  useEffect(() => {
    set(undefined)
    if (!asked) return
    const end = new AbortController(), body = JSON.stringify([{ Resource: resource, Access: access }])
    ask('internal/acl/authorize', { method: 'POST', params: { dc }, body, signal: end.signal }).then(({ data }) => set(data[0].Allow), () => {})
    return () => end.abort()
  }, [dc, held, resource, access, asked])
  return may
}
