package kvcmd

import (
	"testing"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func commands() []command.Command {
	return []command.Command{Get(), Put(), Delete(), Export(), Import(), Replicate()}
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
		{Args: "kv replicate -from dc1 -prefix config/ -to-prefix copy/ -force", Answers: commandtest.Answers{"PUT /v1/operator/kv-replication": `{"Datacenter":"dc1","Prefix":"config/","Target":"copy/","Mode":"mirror"}`},
			Asked: `{"Datacenter":"dc1","Force":true,"Mode":"mirror","Prefix":"config/","Target":"copy/"}`, Out: "Keys below \"config/\" of datacenter dc1 are copied to \"copy/\" (mirror).\n"},
		{Args: "kv replicate -pause -prefix config/", Answers: commandtest.Answers{"PUT /v1/operator/kv-replication/pause": "true"}, Asked: `{"Target":"config/"}`, Out: "Paused the rule that copies keys to \"config/\".\n"},
		{Args: "kv replicate -resume -to-prefix copy/", Answers: commandtest.Answers{"PUT /v1/operator/kv-replication/resume": "true"}, Asked: `{"Target":"copy/"}`, Out: "Resumed the rule that copies keys to \"copy/\".\n"},
		{Args: "kv replicate -remove -prefix= -json", Answers: commandtest.Answers{"PUT /v1/operator/kv-replication/remove": "true"}, Asked: `{"Target":""}`, Out: "Removed the rule that copies keys to \"\".\n"},
		{Args: "kv replicate -list", Answers: commandtest.Answers{"GET /v1/operator/kv-replication": `{"Datacenter":"dc2","Rules":[]}`}, Out: "Datacenter dc2 copies no keys of others.\n"},
		{Args: "kv replicate -list", Answers: commandtest.Answers{"GET /v1/operator/kv-replication": `{"Datacenter":"dc2","Rules":[{"Datacenter":"dc1","Prefix":"a/","Target":"b/","Mode":"mirror","State":"failing","Error":"why","LagSeconds":2.04,"Index":7,"Written":3}]}`},
			Out: "From  Prefix  To    Mode    State    Behind  Keys behind  Index there  Written  Deleted  Conflicts  Mended  Error\n" +
				"dc1   \"a/\"    \"b/\"  mirror  failing  2s      0            7            3        0        0          0       why\n"},
		{Args: "kv replicate -from dc1", Code: 1, Err: "say what is to be copied"},
		{Args: "kv replicate -pause", Code: 1, Err: "name the rule"},
		{Args: "kv replicate -pause -remove -prefix a", Code: 1, Err: "only one of"},
		{Args: "kv delete a", Answers: commandtest.Answers{"DELETE /v1/kv/a": "true"}, Out: "Success! Deleted key: a\n"},
		{Args: "kv delete -recurse a/", Answers: commandtest.Answers{"DELETE /v1/kv/a/": "true"}, Asked: "recurse=", Out: "Success! Deleted keys with prefix: a/\n"},
		{Args: "kv delete -cas -modify-index=3 a", Answers: commandtest.Answers{"DELETE /v1/kv/a": "false"}, Asked: "cas=3", Code: 1, Err: "CAS failed"},
		{Args: "kv delete -cas a", Code: 1, Err: "given together"},
	})
}
