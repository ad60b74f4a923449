package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const deadline = 60 * time.Second

// scene is a running firman, and `firman claude simulate`, which answers for Claude.
type scene struct {
	directory, program string
	issuer, claude     string
	organization       string
	history            string
	environment        []string
}

var stage scene

func TestMain(m *testing.M) {
	os.Exit(func() int {
		directory, err := os.MkdirTemp("", "firman-sdk-")
		must(err)
		defer os.RemoveAll(directory)
		stage.directory, stage.program = directory, filepath.Join(directory, "agent")
		must(exec.Command("go", "build", "-o", stage.program, ".").Run())
		// The guide's code says `firman`.
		must(os.Symlink(binary(), filepath.Join(directory, "firman")))
		defer stage.start()()
		return m.Run()
	}())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func binary() string {
	if set := os.Getenv("FIRMAN_BIN"); set != "" {
		return set
	}
	path, err := filepath.Abs("../../../../target/debug/firman")
	must(err)
	return path
}

// freePorts are ports that were free a moment ago.
func freePorts(count int) []string {
	var ports []string
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		defer listener.Close()
		ports = append(ports, listener.Addr().String())
	}
	return ports
}

func (s *scene) start() (stop func()) {
	ports := freePorts(2)
	s.issuer = "http://" + ports[0]
	s.environment = []string{
		"PATH=" + s.directory + ":" + os.Getenv("PATH"),
		"FIRMAN_LISTEN=" + ports[0], "FIRMAN_ADMIN_LISTEN=" + ports[1],
		"FIRMAN_DATA_DIR=" + filepath.Join(s.directory, "data"), "FIRMAN_KEYS_DIR=" + filepath.Join(s.directory, "keys"),
		"ANTHROPIC_ADMIN_TOKEN=sk-ant-oat01-the-administrator-of-the-simulation",
	}
	serve := s.command("serve")
	must(serve.Start())
	simulate := s.command("claude", "simulate", "--listen", "127.0.0.1:0", "--output", "json")
	told, err := simulate.StdoutPipe()
	must(err)
	must(simulate.Start())
	var about struct {
		URL          string `json:"url"`
		Organization string `json:"organization_id"`
		History      string `json:"history_url"`
	}
	must(json.NewDecoder(told).Decode(&about))
	s.claude, s.organization, s.history = about.URL, about.Organization, about.History
	for end := time.Now().Add(deadline); ; time.Sleep(50 * time.Millisecond) {
		if answer, err := http.Get(s.issuer + "/healthz"); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(end) {
			panic("firman did not become healthy")
		}
	}
	s.run("resource", "add", "claude", "--profile", "claude")
	s.run("role", "add", "claude-user", "--grant", "claude")
	return func() {
		for _, process := range []*exec.Cmd{simulate, serve} {
			_ = process.Process.Signal(os.Interrupt)
			_ = process.Wait()
		}
	}
}

func (s *scene) command(arguments ...string) *exec.Cmd {
	command := exec.Command(binary(), arguments...)
	command.Dir, command.Env = s.directory, s.environment
	return command
}

// run runs one firman command and returns what it printed.
func (s *scene) run(arguments ...string) string {
	var errors bytes.Buffer
	command := s.command(arguments...)
	command.Stderr = &errors
	printed, err := command.Output()
	if err != nil {
		panic(fmt.Sprintf("firman %s: %v\n%s", strings.Join(arguments, " "), err, &errors))
	}
	return string(printed)
}

// connected is an agent that was made and connected as the guide says.
type connected struct {
	name, key, file, home string
	environment           map[string]string
}

func connect(t *testing.T) *connected {
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	agent := &connected{name: name, home: filepath.Join(stage.directory, name)}
	must(os.Mkdir(agent.home, 0o700))
	agent.key, agent.file = filepath.Join(agent.home, "key.pem"), filepath.Join(agent.home, "identity-token")
	stage.run("agent", "add", name, "--owner", "team-go", "--role", "claude-user", "--generate-key", agent.key)
	stage.run(append(agent.connect(), "--organization", stage.organization, "--apply", "--yes")...)
	// The lines of `firman claude connect --format env`, as printed.
	agent.environment = map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(stage.run(append(agent.connect(), "--format", "env")...)), "\n") {
		variable, value, _ := strings.Cut(line, "=")
		agent.environment[variable] = value
	}
	return agent
}

func (a *connected) connect() []string {
	return []string{"claude", "connect", "--agent", a.name, "--base-url", stage.claude, "--token-file", a.file}
}

func (a *connected) writeToken() {
	stage.run("token", "get", "--issuer", stage.issuer, "--client-id", a.name, "--key", a.key, "--out", a.file)
}

// answer is what the agent is told by the simulation.
func (a *connected) answer() string {
	return "simulated answer for " + a.environment["ANTHROPIC_SERVICE_ACCOUNT_ID"]
}

// with is the printed environment with other values.
func (a *connected) with(others map[string]string) []string {
	environment := []string{"PATH=" + stage.directory + ":" + os.Getenv("PATH"), "HOME=" + a.home}
	for _, variables := range []map[string]string{a.environment, others} {
		for variable, value := range variables {
			environment = append(environment, variable+"="+value)
		}
	}
	return environment
}

// without the printed variables: a home and these.
func (a *connected) without(variables ...string) []string {
	return append([]string{"PATH=" + stage.directory + ":" + os.Getenv("PATH"), "HOME=" + a.home}, variables...)
}

// program runs a command that tells an outcome for each line of input.
func program(t *testing.T, input string, environment []string, command ...string) []outcome {
	t.Helper()
	running := exec.Command(command[0], command[1:]...)
	running.Env, running.Stdin = environment, strings.NewReader(input)
	var errors bytes.Buffer
	running.Stderr = &errors
	printed, err := running.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &errors)
	}
	var outcomes []outcome
	for decoder := json.NewDecoder(bytes.NewReader(printed)); ; {
		var next outcome
		if err := decoder.Decode(&next); err == io.EOF {
			return outcomes
		} else if err != nil {
			t.Fatalf("%v: %s", err, printed)
		}
		outcomes = append(outcomes, next)
	}
}

type attempt struct {
	RequestID string `json:"request_id"`
	Status    struct{ Outcome, Reason string }
	EventData struct {
		Rule  string `json:"federation_rule_id"`
		Token struct {
			JTI string `json:"jti"`
		} `json:"oidc_token"`
	} `json:"event_data"`
}

// attempts are the exchanges by the agent's rule, oldest first.
func (a *connected) attempts() []attempt {
	answer, err := http.Get(stage.history)
	must(err)
	defer answer.Body.Close()
	var history struct{ Data []attempt }
	must(json.NewDecoder(answer.Body).Decode(&history))
	slices.Reverse(history.Data)
	return slices.DeleteFunc(history.Data, func(attempt attempt) bool {
		return attempt.EventData.Rule != a.environment["ANTHROPIC_FEDERATION_RULE_ID"]
	})
}

func assertAnswered(t *testing.T, a *connected, outcomes []outcome, count int) {
	t.Helper()
	if len(outcomes) != count {
		t.Fatalf("%d outcomes, not %d: %v", len(outcomes), count, outcomes)
	}
	for number, outcome := range outcomes {
		if outcome.Text != a.answer() {
			t.Errorf("message %d: %+v", number+1, outcome)
		}
	}
}

// assertExchanges asserts that so many tokens were taken, all different, and none refused.
func assertExchanges(t *testing.T, a *connected, count int) {
	t.Helper()
	tokens := map[string]bool{}
	attempts := a.attempts()
	for _, attempt := range attempts {
		if attempt.Status.Outcome != "success" {
			t.Errorf("refused: %+v", attempt.Status)
		}
		tokens[attempt.EventData.Token.JTI] = true
	}
	if len(attempts) != count || len(tokens) != count {
		t.Errorf("%d exchanges of %d tokens, not %d", len(attempts), len(tokens), count)
	}
}

func below(a *connected, options ...string) []string {
	return append([]string{binary(), "exec", "--agent", a.name, "--key", a.key, "--base-url", stage.claude}, options...)
}

// TestTwentyNewClientsInARowBelowExecAreAllAnswered is twenty clients of one process.
func TestTwentyNewClientsInARowBelowExecAreAllAnswered(t *testing.T) {
	agent := connect(t)
	outcomes := program(t, strings.Repeat("message\n", 20), stage.environment, below(agent, "--", stage.program)...)
	assertAnswered(t, agent, outcomes, 20)
	assertExchanges(t, agent, 20)
}

func TestTwentyProcessesInARowBelowExecAreAllAnswered(t *testing.T) {
	agent := connect(t)
	script := "for _ in $(seq 20); do echo message | $0; done"
	outcomes := program(t, "", stage.environment, below(agent, "--", "sh", "-c", script, stage.program)...)
	assertAnswered(t, agent, outcomes, 20)
	assertExchanges(t, agent, 20)
}

func TestProcessesThatStartTogetherWithAProfileShareAnExchange(t *testing.T) {
	agent := connect(t)
	script := "echo message | $0; for _ in $(seq 9); do echo message | $0 & done; wait"
	command := below(agent, "--profile", "--", "sh", "-c", script, stage.program)
	outcomes := program(t, "", stage.environment, command...)
	assertAnswered(t, agent, outcomes, 10)
	assertExchanges(t, agent, 1)
}

func TestTheVariablesAsPrinted(t *testing.T) {
	agent := connect(t)
	agent.writeToken()
	assertAnswered(t, agent, program(t, "message\n", agent.with(nil), stage.program), 1)
	assertExchanges(t, agent, 1)
}

func TestTheProfileAsPrintedInEachDirectory(t *testing.T) {
	agent := connect(t)
	profile := stage.run(append(agent.connect(), "--format", "profile")...)
	for number, place := range []struct{ directory, variable string }{
		{".config/anthropic", ""},
		{"elsewhere", "ANTHROPIC_CONFIG_DIR=" + filepath.Join(agent.home, "elsewhere")},
		{"xdg/anthropic", "XDG_CONFIG_HOME=" + filepath.Join(agent.home, "xdg")},
	} {
		configs := filepath.Join(agent.home, place.directory, "configs")
		must(os.MkdirAll(configs, 0o700))
		must(os.WriteFile(filepath.Join(configs, "mailer.json"), []byte(profile), 0o600))
		agent.writeToken()
		environment := agent.without("ANTHROPIC_PROFILE=mailer", place.variable)
		assertAnswered(t, agent, program(t, "message\n", environment, stage.program), 1)
		must(os.Remove(filepath.Join(configs, "mailer.json")))
		assertExchanges(t, agent, number+1)
		// The exchanged token is cached beside it.
		if _, err := os.Stat(filepath.Join(agent.home, place.directory, "credentials", "mailer.json")); err != nil {
			t.Error(err)
		}
	}
}

func TestAFunctionInsteadOfAFile(t *testing.T) {
	agent := connect(t)
	environment := agent.without("ISSUER="+stage.issuer, "AGENT="+agent.name, "AGENT_KEY="+agent.key,
		"ANTHROPIC_BASE_URL="+stage.claude, "ORGANIZATION="+stage.organization,
		"RULE="+agent.environment["ANTHROPIC_FEDERATION_RULE_ID"],
		"SERVICE_ACCOUNT="+agent.environment["ANTHROPIC_SERVICE_ACCOUNT_ID"])
	assertAnswered(t, agent, program(t, "function\nfunction\n", environment, stage.program), 2)
	assertExchanges(t, agent, 2)
}

func TestAnEmptyVariableOfACredentialCountsAsUnsetAndOneOfTheDirectoryDoesNot(t *testing.T) {
	agent := connect(t)
	agent.writeToken()
	empty := map[string]string{"ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "", "ANTHROPIC_PROFILE": "", "ANTHROPIC_WORKSPACE_ID": ""}
	assertAnswered(t, agent, program(t, "message\n", agent.with(empty), stage.program), 1)
	environment := agent.without("ANTHROPIC_PROFILE=mailer", "ANTHROPIC_CONFIG_DIR=")
	outcomes := program(t, "message\n", environment, stage.program)
	if !strings.Contains(outcomes[0].Error, `"configs/mailer.json"`) {
		t.Errorf("not the working directory: %+v", outcomes[0])
	}
}

func TestOneRefusalIsThreeInTheHistoryAndItsTextNamesTheLast(t *testing.T) {
	agent := connect(t)
	agent.writeToken()
	assertAnswered(t, agent, program(t, "message\n", agent.with(nil), stage.program), 1)
	outcomes := program(t, "message\n", agent.with(nil), stage.program)
	attempts := agent.attempts()[1:]
	if len(attempts) != 3 {
		t.Fatalf("%d attempts", len(attempts))
	}
	for _, attempt := range attempts {
		if attempt.Status.Reason != "jti_reused" {
			t.Errorf("%+v", attempt)
		}
	}
	if refused := outcomes[0]; refused.RequestID == "" || refused.RequestID != attempts[2].RequestID {
		t.Errorf("%+v, not %s", refused, attempts[2].RequestID)
	}
}

func TestAHeaderOfTheEnvironmentWinsUnlessExecRemovesIt(t *testing.T) {
	agent := connect(t)
	agent.writeToken()
	leftover := map[string]string{"ANTHROPIC_CUSTOM_HEADERS": "x-trace: 1\nX-Api-Key: sk-ant-api03-leftover"}
	outcomes := program(t, "message\n", agent.with(leftover), stage.program)
	if !strings.Contains(outcomes[0].Error, "401") || len(agent.attempts()) != 0 {
		t.Errorf("%+v", outcomes[0])
	}
	environment := append(slices.Clone(stage.environment), "ANTHROPIC_CUSTOM_HEADERS=x-trace: 1\nX-Api-Key: sk-ant-api03-leftover")
	assertAnswered(t, agent, program(t, "message\n", environment, below(agent, "--", stage.program)...), 1)
}
