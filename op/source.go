package op

import "context"

type sourceKey struct{}

// WithSource says on whose behalf calls in the context are made, where they are
// admitted up to a rate: a client's address, an agent, another datacenter.
func WithSource(ctx context.Context, source string) context.Context {
	return context.WithValue(ctx, sourceKey{}, source)
}

// SourceOf returns what WithSource said; empty for what an agent does by itself.
func SourceOf(ctx context.Context) string {
	s, _ := ctx.Value(sourceKey{}).(string)
	return s
}

type networkKey struct{}

// WithNetwork says that a call came from another agent, whoever that says it is.
func WithNetwork(ctx context.Context) context.Context {
	return context.WithValue(ctx, networkKey{}, true)
}

// OverNetwork reports whether a call came from another agent: not by an interface of this
// one, or from itself.
func OverNetwork(ctx context.Context) bool { return ctx.Value(networkKey{}) != nil }

type followerKey struct{}

// WithFollower says of which datacenter the server is that follows a result.
func WithFollower(ctx context.Context, datacenter string) context.Context {
	return context.WithValue(ctx, followerKey{}, datacenter)
}

// FollowerOf returns what WithFollower said.
func FollowerOf(ctx context.Context) string {
	s, _ := ctx.Value(followerKey{}).(string)
	return s
}
