package directory

import "strings"

// Watch says when what is known of one service has changed.
type Watch struct {
	d       *Directory
	service string
	wake    chan struct{} // capacity 1
}

// Watch begins to watch over a service in all datacenters. Close it.
func (d *Directory) Watch(service string) *Watch {
	w := &Watch{d: d, service: strings.ToLower(service), wake: make(chan struct{}, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watchers[w.service] == nil {
		d.watchers[w.service] = map[*Watch]struct{}{}
	}
	d.watchers[w.service][w] = struct{}{}
	return w
}

// Changed receives after a change.
func (w *Watch) Changed() <-chan struct{} { return w.wake }

// Close ends the watch.
func (w *Watch) Close() {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	set := w.d.watchers[w.service]
	if delete(set, w); len(set) == 0 {
		delete(w.d.watchers, w.service)
	}
}

// wake tells who watches one of the services; d.mu is held.
func (d *Directory) wake(services []string) {
	if len(d.watchers) == 0 {
		return
	}
	for _, s := range services {
		signal(d.watchers[s])
	}
}

// wakeAll tells everybody; d.mu is held.
func (d *Directory) wakeAll() {
	for _, set := range d.watchers {
		signal(set)
	}
}

func signal(set map[*Watch]struct{}) {
	for w := range set {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}
