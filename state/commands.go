package state

import (
	"slices"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/failover"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/state/txn"
)

// commands lists every replicated command. Numbers are in every log and
// snapshot: they are only ever added, never changed or used again. So is what a
// command's request and applying it mean: what is to mean more is a new command of a
// level that no release has yet. An operation may have several: leaders write that with
// the highest level that all servers know.
func commands() []row {
	return slices.Concat(
		ofLevel(1,
			command(1, &kv.Apply, kv.ApplyUnstamped),
			command(2, &catalog.Register, register),
			command(3, &catalog.Deregister, deregister),
			command(4, &coordinate.Batch, coordinateBatch),
			command(5, &Collect, collect),
			command(6, &session.Create, session.ApplyCreate),
			command(7, &session.Destroy, destroySession),
			command(8, &session.Expire, expireSessions),
			command(9, &kv.Pass, kv.ApplyPass),
			command(10, &txn.Apply, applyUnstampedTxn),
			command(14, &RestoreAbort, restoreAbort),
			command(15, &query.Create, query.ApplyCreate),
			command(16, &query.Update, query.ApplyUpdate),
			command(17, &query.Delete, query.ApplyDelete),
		),
		ofLevel(2,
			command(18, &acl.SetToken, acl.ApplySetToken),
			command(19, &acl.DeleteToken, acl.ApplyDeleteToken),
			command(20, &acl.Logout, acl.ApplyLogout),
			command(21, &acl.Expire, acl.ApplyExpire),
			command(22, &acl.Mint, acl.ApplyMint),
			command(23, &acl.SetPolicy, acl.ApplySetPolicy),
			command(24, &acl.DeletePolicy, acl.ApplyDeletePolicy),
			command(25, &acl.SetRole, acl.ApplySetRole),
			command(26, &acl.DeleteRole, acl.ApplyDeleteRole),
			command(27, &acl.SetMethod, acl.ApplySetMethod),
			command(28, &acl.DeleteMethod, acl.ApplyDeleteMethod),
			command(29, &acl.SetBinding, acl.ApplySetBinding),
			command(30, &acl.DeleteBinding, acl.ApplyDeleteBinding),
			command(31, &acl.Bootstrap, acl.ApplyBootstrap),
			command(32, &acl.Begin, acl.ApplyBegin),
			command(33, &acl.Copy, acl.ApplyCopy),
			command(34, &acl.TakeStep, acl.ApplyStep),
			command(35, &autopilot.Set, autopilot.ApplySet),
			command(36, &replication.Set, replication.ApplySet),
			command(37, &replication.Change, replication.ApplyChange),
			command(38, &kv.Copy, kv.ApplyCopy),
			command(39, &kv.Apply, kv.ApplyEntry),
			command(43, &txn.Apply, applyTxn),
			command(44, &kv.Forget, kv.ApplyForget),
			command(45, &kv.Settle, kv.ApplySettle),
			command(40, &failover.Set, failover.ApplySet),
			command(41, &failover.Delete, failover.ApplyDelete),
			command(42, &session.Bind, session.ApplyBind),
		),
		// A snapshot may hold rows of any level that this build knows.
		ofLevel(version.Level,
			command(11, &RestoreBegin, restoreBegin),
			command(12, &RestoreRows, restoreRows),
			command(13, &RestoreFinish, restoreFinish),
		),
	)
}

func ofLevel(level uint16, rows ...row) []row {
	for i := range rows {
		rows[i].level = level
	}
	return rows
}

// Operations lists the operations of all domains.
func Operations() []op.Operation {
	all := []op.Operation{&Collect, &RestoreBegin, &RestoreRows, &RestoreFinish, &RestoreAbort}
	for _, domain := range [][]op.Operation{catalog.Operations(), coordinate.Operations(), kv.Operations(), session.Operations(), status.Operations(), txn.Operations(), query.Operations(), acl.Operations(), autopilot.Operations(), replication.Operations(), failover.Operations()} {
		all = append(all, domain...)
	}
	return all
}
