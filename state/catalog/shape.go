package catalog

// What the service mesh would know of an instance. There is no mesh here;
// clients expect the fields all the same.

// NoProxy is how an instance is shown that is no proxy. What a client sends in
// its place is not kept.
type NoProxy struct{}

// MarshalJSON implements json.Marshaler.
func (NoProxy) MarshalJSON() ([]byte, error) {
	return []byte(`{"Mode":"","MeshGateway":{},"Expose":{}}`), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (*NoProxy) UnmarshalJSON([]byte) error { return nil }

// NoConnect is how an instance is shown that has no part in a mesh. What a
// client sends in its place is not kept.
type NoConnect struct{}

// MarshalJSON implements json.Marshaler.
func (NoConnect) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (*NoConnect) UnmarshalJSON([]byte) error { return nil }
