package aclcmd

import "github.com/legate-project/legate/cmd/legate/command"

// Commands lists the family, each group before its own.
func Commands() []command.Command {
	return []command.Command{
		command.Group("acl", "Manage access control: tokens, policies, roles, auth methods"),
		Bootstrap(),
		SetAgentToken(),
		command.Group("acl token", "Manage tokens"),
		TokenCreate(),
		TokenRead(),
		TokenUpdate(),
		TokenDelete(),
		TokenClone(),
		TokenList(),
		command.Group("acl policy", "Manage policies"),
		PolicyCreate(),
		PolicyRead(),
		PolicyUpdate(),
		PolicyDelete(),
		PolicyList(),
		command.Group("acl role", "Manage roles"),
		RoleCreate(),
		RoleRead(),
		RoleUpdate(),
		RoleDelete(),
		RoleList(),
		command.Group("acl auth-method", "Manage auth methods"),
		MethodCreate(),
		MethodRead(),
		MethodUpdate(),
		MethodDelete(),
		MethodList(),
		command.Group("acl binding-rule", "Manage binding rules"),
		BindingCreate(),
		BindingRead(),
		BindingUpdate(),
		BindingDelete(),
		BindingList(),
		command.Group("acl templated-policy", "Look at the policies that are built in and filled with a name"),
		TemplateList(),
		TemplateRead(),
		TemplatePreview(),
		Login(),
		Logout(),
	}
}
