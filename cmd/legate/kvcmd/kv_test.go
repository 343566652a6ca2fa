package kvcmd

import (
	"testing"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func commands() []command.Command {
	return []command.Command{Get(), Put(), Delete(), Export(), Import()}
}

const pair = `[{"LockIndex":2,"Key":"a/b","Flags":7,"Value":"aGVsbG8=","Session":"","CreateIndex":5,"ModifyIndex":9}]`

func TestCommands(t *testing.T) {
	commandtest.Check(t, commands(), []commandtest.Case{
		{Args: "kv get a/b", Answers: commandtest.Answers{"GET /v1/kv/a/b": pair}, Out: "hello\n"},
		{Args: "kv get -base64 /a/b", Answers: commandtest.Answers{"GET /v1/kv/a/b": pair}, Out: "aGVsbG8=\n"},
		{Args: "kv get -detailed a/b", Answers: commandtest.Answers{"GET /v1/kv/a/b": pair},
			Out: "CreateIndex      5\nFlags            7\nKey              a/b\nLockIndex        2\nModifyIndex      9\nSession          -\nValue            hello\n"},
		{Args: "kv get -recurse a/", Answers: commandtest.Answers{"GET /v1/kv/a/": pair}, Asked: "recurse=", Out: "a/b:hello\n"},
		{Args: "kv get -keys", Answers: commandtest.Answers{"GET /v1/kv/": `["a/","c"]`}, Asked: "keys=&separator=/", Out: "a/\nc\n"},
		{Args: "kv get none", Code: 1, Err: "Error: no key exists at: none"},
		{Args: "kv get", Code: 1, Err: "missing KEY"},
		{Args: "kv get a -recurse", Code: 1, Err: "flags go before arguments"},
		{Args: "kv put a 5", Answers: commandtest.Answers{"PUT /v1/kv/a": "true"}, Asked: "PUT /v1/kv/a? 5", Out: "Success! Data written to: a\n"},
		{Args: "kv put -flags=3 a -", Stdin: "in", Answers: commandtest.Answers{"PUT /v1/kv/a": "true"}, Asked: "flags=3 in", Out: "Success! Data written to: a\n"},
		{Args: "kv put -base64 a aGVsbG8=", Answers: commandtest.Answers{"PUT /v1/kv/a": "true"}, Asked: "? hello", Out: "Success! Data written to: a\n"},
		{Args: "kv put -cas -modify-index=4 a x", Answers: commandtest.Answers{"PUT /v1/kv/a": "true"}, Asked: "cas=4", Out: "Success! Data written to: a\n"},
		{Args: "kv put -cas a x", Answers: commandtest.Answers{"PUT /v1/kv/a": "false"}, Asked: "cas=0", Code: 1, Err: "did not write to a: CAS failed"},
		{Args: "kv put -acquire -session=s a", Answers: commandtest.Answers{"PUT /v1/kv/a": "true"}, Asked: "acquire=s", Out: "Success! Lock acquired on: a\n"},
		{Args: "kv put -release -session=s a", Answers: commandtest.Answers{"PUT /v1/kv/a": "false"}, Asked: "release=s", Code: 1, Err: "did not release lock"},
		{Args: "kv put -acquire a", Code: 1, Err: "need -session"},
		{Args: "kv put -modify-index=3 a b", Code: 1, Err: "-modify-index is for -cas"},
		{Args: "kv put -base64 a ?", Code: 1, Err: "base64"},
		{Args: "kv put a @/does/not/exist", Code: 1, Err: "no such file"},
		{Args: "kv put", Code: 1, Err: "too few"},
		{Args: "kv put -flags=x a b", Code: 1, Err: "invalid value"},
		{Args: "kv delete a", Answers: commandtest.Answers{"DELETE /v1/kv/a": "true"}, Out: "Success! Deleted key: a\n"},
		{Args: "kv delete -recurse a/", Answers: commandtest.Answers{"DELETE /v1/kv/a/": "true"}, Asked: "recurse=", Out: "Success! Deleted keys with prefix: a/\n"},
		{Args: "kv delete -cas -modify-index=3 a", Answers: commandtest.Answers{"DELETE /v1/kv/a": "false"}, Asked: "cas=3", Code: 1, Err: "CAS failed"},
		{Args: "kv delete -cas a", Code: 1, Err: "given together"},
	})
}
