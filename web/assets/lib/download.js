// Files that the page makes for who looks at it.

// download hands pieces, texts or bytes, to the browser as a file.
export function download(name, pieces, type = 'application/octet-stream') {
  const url = URL.createObjectURL(new Blob(pieces, { type }))
  const link = Object.assign(document.createElement('a'), { href: url, download: name })
  document.body.append(link)
  link.click()
  link.remove()
  setTimeout(() => URL.revokeObjectURL(url), 60_000) // browsers may begin to read it later
}

// fileName makes a name of a file of that of a key or folder.
export function fileName(key) {
  const last = key.replace(/\/+$/, '').split('/').at(-1)
  return last.replace(/[^\w.@+-]+/g, '-').replace(/^\.+/, '').slice(0, 80) || 'keys'
}
