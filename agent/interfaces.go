package agent

func (a *Agent) startInterfaces() error { return nil }
