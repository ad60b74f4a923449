package firman;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.PublicKey;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** The real firman on free loopback ports with data of its own; closing it stops the process that was started. */
final class Firman implements AutoCloseable {
    private static final Duration START_DEADLINE = Duration.ofSeconds(60);
    private static final int COMMAND_DEADLINE_SECONDS = 60;
    private static final int STOP_DEADLINE_SECONDS = 20;

    final String issuer;
    private final Path directory;
    private final Map<String, String> environment;
    private final Process process;

    Firman() throws Exception {
        directory = Files.createTempDirectory("firman-sdk-");
        try (ServerSocket first = loopback(); ServerSocket second = loopback()) {
            issuer = "http://127.0.0.1:" + first.getLocalPort();
            // Nothing of the caller's environment gets in.
            environment = Map.of(
                    "PATH", System.getenv("PATH"),
                    "FIRMAN_LISTEN", "127.0.0.1:" + first.getLocalPort(),
                    "FIRMAN_ADMIN_LISTEN", "127.0.0.1:" + second.getLocalPort(),
                    "FIRMAN_DATA_DIR", directory.resolve("data").toString(),
                    "FIRMAN_KEYS_DIR", directory.resolve("keys").toString());
        }
        process = start("log", "serve");
        waitUntilHealthy();
    }

    private static ServerSocket loopback() throws IOException {
        return new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"));
    }

    private Process start(String output, String... arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of(System.getenv("FIRMAN_BIN")));
        command.addAll(Arrays.asList(arguments));
        ProcessBuilder builder = new ProcessBuilder(command).directory(directory.toFile());
        builder.environment().clear();
        builder.environment().putAll(environment);
        builder.redirectErrorStream(true).redirectOutput(directory.resolve(output).toFile());
        return builder.start();
    }

    private void waitUntilHealthy() throws Exception {
        HttpClient http = HttpClient.newHttpClient();
        HttpRequest request = HttpRequest.newBuilder(URI.create(issuer + "/healthz")).build();
        Instant deadline = Instant.now().plus(START_DEADLINE);
        while (Instant.now().isBefore(deadline) && process.isAlive()) {
            try {
                if (http.send(request, HttpResponse.BodyHandlers.discarding()).statusCode() == 200) {
                    return;
                }
            } catch (IOException notYet) {
                Thread.sleep(20);
            }
        }
        String log = Files.readString(directory.resolve("log"));
        close();
        throw new IllegalStateException("firman did not become healthy: " + log);
    }

    /** Runs one firman command to its end. */
    void run(String... arguments) throws Exception {
        Process command = start("output", arguments);
        if (!command.waitFor(COMMAND_DEADLINE_SECONDS, TimeUnit.SECONDS) || command.exitValue() != 0) {
            throw new IllegalStateException(String.join(" ", arguments) + ": "
                    + Files.readString(directory.resolve("output")));
        }
    }

    /** Registers an agent with a public key, as PEM. */
    void agent(String name, PublicKey key) throws Exception {
        String base64 = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(key.getEncoded());
        Path file = directory.resolve(name + ".pub.pem");
        Files.writeString(file, "-----BEGIN PUBLIC KEY-----\n" + base64 + "\n-----END PUBLIC KEY-----\n");
        run("agent", "add", name, "--owner", "team-java", "--role", "reader", "--public-key", file.toString());
    }

    @Override
    public void close() throws Exception {
        process.destroy();
        if (!process.waitFor(STOP_DEADLINE_SECONDS, TimeUnit.SECONDS)) {
            process.destroyForcibly().waitFor();
            throw new IllegalStateException("firman did not stop when it was told to");
        }
        try (Stream<Path> files = Files.walk(directory)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }
}
