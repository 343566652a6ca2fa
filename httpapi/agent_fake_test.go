package httpapi

func (a *agentFake) SetToken(target, secret string) error {
	return a.note("token %s=%s", target, secret)
}
func (a *agentFake) Host() any {
	return map[string]any{"Host": map[string]string{"hostname": "n1"}}
}
