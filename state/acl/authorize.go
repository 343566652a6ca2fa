package acl

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -o authorize_gen.go -file authorize.go
//msgp:limit arrays:64 maps:16

// MaxQuestions is how many rights are asked about at once.
const MaxQuestions = 64

// Question asks whether a caller has an access; the answer repeats it.
type Question struct {
	Resource string `msg:"r"`
	Access   string `msg:"a"`
	Segment  string `msg:"s,omitempty"` // the name, or the prefix
	Allow    bool   `msg:"y,omitempty"`
}

// Questions are at most MaxQuestions.
type Questions struct {
	Questions []Question `msg:"q"`
}

// Authorize says which rights the caller has in a datacenter. Everybody may ask.
var Authorize = op.Direct[Questions, Questions]{Name: "acl.authorize", Authorize: anybody[Questions], Reads: true}

// TokenQuestions are Questions about a token, which AccessorID names, in place of the caller's.
type TokenQuestions struct {
	AccessorID string     `msg:"a"`
	Questions  []Question `msg:"q"`
}

// AuthorizeToken says which rights a token has in a datacenter; nothing where there is no such
// token. One that has ended has none.
var AuthorizeToken = op.Direct[TokenQuestions, Questions]{Name: "acl.authorize-token", Authorize: reads[TokenQuestions], Reads: true}

// Answer answers the questions for a caller.
func (q *Questions) Answer(a rules.Authorizer) {
	for i := range q.Questions {
		one := &q.Questions[i]
		one.Allow = a.Allow(rules.Resource(one.Resource), rules.Access(one.Access), one.Segment)
	}
}
