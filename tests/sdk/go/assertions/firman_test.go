// Package assertions has client libraries of strangers prove themselves to the real firman, each with its defaults.
package assertions

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// firman is a running issuer on free loopback ports with data of its own.
type firman struct {
	issuer      string
	directory   string
	environment []string
}

// startFirman starts the program that FIRMAN_BIN names, and stops it when the test ends.
func startFirman(t *testing.T) *firman {
	t.Helper()
	binary := os.Getenv("FIRMAN_BIN")
	if binary == "" {
		t.Skip("FIRMAN_BIN does not name the program")
	}
	public, private := freePorts(t)
	directory := t.TempDir()
	f := &firman{
		issuer:    "http://" + public,
		directory: directory,
		// Nothing of the caller's environment gets in.
		environment: []string{
			"PATH=" + os.Getenv("PATH"),
			"FIRMAN_LISTEN=" + public,
			"FIRMAN_ADMIN_LISTEN=" + private,
			"FIRMAN_DATA_DIR=" + filepath.Join(directory, "data"),
			"FIRMAN_KEYS_DIR=" + filepath.Join(directory, "keys"),
		},
	}
	log, err := os.Create(filepath.Join(directory, "log"))
	must(t, err)
	serve := exec.Command(binary, "serve")
	serve.Dir, serve.Env, serve.Stdout, serve.Stderr = directory, f.environment, log, log
	must(t, serve.Start())
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	t.Cleanup(func() {
		_ = serve.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = serve.Process.Kill()
			t.Error("firman did not stop when it was told to")
		}
		_ = log.Close()
	})
	deadline := time.Now().Add(60 * time.Second)
	for {
		answer, err := http.Get(f.issuer + "/healthz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return f
			}
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("firman did not become healthy: %s", text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// run runs one firman command and returns what it printed.
func (f *firman) run(t *testing.T, arguments ...string) string {
	t.Helper()
	command := exec.Command(os.Getenv("FIRMAN_BIN"), arguments...)
	command.Dir, command.Env = f.directory, f.environment
	printed, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("firman %s: %v\n%s", strings.Join(arguments, " "), err, printed)
	}
	return string(printed)
}

// agent registers an agent with the public half of a key, as PEM, and returns its private half.
func (f *firman) agent(t *testing.T, name, publicPEM string) {
	t.Helper()
	file := filepath.Join(f.directory, name+".pub.pem")
	must(t, os.WriteFile(file, []byte(publicPEM), 0o600))
	f.run(t, "agent", "add", name, "--owner", "team-go", "--role", "reader", "--public-key", file)
}

// token asks for an access token with a client assertion. The second result is what a refusal says.
func (f *firman) token(t *testing.T, assertion string) (string, string) {
	t.Helper()
	answer, err := http.PostForm(f.issuer+"/oauth2/token", url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	})
	must(t, err)
	defer func() { _ = answer.Body.Close() }()
	var body struct {
		AccessToken string `json:"access_token"`
		Description string `json:"error_description"`
	}
	must(t, json.NewDecoder(answer.Body).Decode(&body))
	return body.AccessToken, body.Description
}

func freePorts(t *testing.T) (string, string) {
	t.Helper()
	first, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	second, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = first.Close(); _ = second.Close() }()
	return fmt.Sprint(first.Addr()), fmt.Sprint(second.Addr())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
