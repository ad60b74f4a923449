package verifiers

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const deadline = 60 * time.Second

// Firman is the real binary on free loopback ports, with data of its own.
type Firman struct {
	Issuer      string
	directory   string
	environment []string
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// StartFirman serves until the test ends.
func StartFirman(t *testing.T) *Firman {
	t.Helper()
	directory := t.TempDir()
	public, private := freeAddress(t), freeAddress(t)
	firman := &Firman{
		Issuer:    "http://" + public,
		directory: directory,
		// Nothing of the caller's environment gets in: a FIRMAN_DATABASE_URL there must not be used.
		environment: []string{
			"PATH=" + os.Getenv("PATH"),
			"FIRMAN_LISTEN=" + public,
			"FIRMAN_ADMIN_LISTEN=" + private,
			"FIRMAN_DATA_DIR=" + filepath.Join(directory, "data"),
			"FIRMAN_KEYS_DIR=" + filepath.Join(directory, "keys"),
		},
	}
	var log bytes.Buffer
	server := firman.program("serve")
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(deadline):
			_ = server.Process.Kill()
			t.Error("firman did not stop on SIGTERM")
		}
	})
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if answer, err := http.Get(firman.Issuer + "/healthz"); err == nil {
			answer.Body.Close()
			return firman
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("firman ended: %v\n%s", err, log.String())
		default:
		}
	}
	t.Fatal("firman did not become healthy")
	return nil
}

func (firman *Firman) program(arguments ...string) *exec.Cmd {
	program := exec.Command(os.Getenv("FIRMAN_BIN"), arguments...)
	program.Dir, program.Env = firman.directory, firman.environment
	return program
}

// Command runs one firman command and returns the JSON that it printed.
func (firman *Firman) Command(t *testing.T, arguments ...string) map[string]any {
	t.Helper()
	program := firman.program(append(arguments, "--output", "json")...)
	var problems bytes.Buffer
	program.Stderr = &problems
	printed, err := program.Output()
	if err != nil {
		t.Fatalf("firman %v: %v\n%s", arguments, err, problems.String())
	}
	var value map[string]any
	if err := json.Unmarshal(printed, &value); err != nil {
		t.Fatal(err)
	}
	return value
}
