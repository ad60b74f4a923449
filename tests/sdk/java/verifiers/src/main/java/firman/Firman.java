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
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** The real binary on free loopback ports, with data of its own. */
final class Firman implements AutoCloseable {
    private static final int DEADLINE_SECONDS = 60;

    final String issuer;
    private final Path directory;
    private final Map<String, String> environment;
    private final Process server;

    Firman() throws Exception {
        directory = Files.createTempDirectory("firman-sdk-");
        int publicPort;
        int privatePort;
        var loopback = InetAddress.getLoopbackAddress();
        try (var one = new ServerSocket(0, 1, loopback); var other = new ServerSocket(0, 1, loopback)) {
            publicPort = one.getLocalPort();
            privatePort = other.getLocalPort();
        }
        issuer = "http://127.0.0.1:" + publicPort;
        // Nothing of the caller's environment gets in: a FIRMAN_DATABASE_URL there must not be used.
        environment = Map.of(
                "PATH", System.getenv("PATH"),
                "FIRMAN_LISTEN", "127.0.0.1:" + publicPort,
                "FIRMAN_ADMIN_LISTEN", "127.0.0.1:" + privatePort,
                "FIRMAN_DATA_DIR", directory.resolve("data").toString(),
                "FIRMAN_KEYS_DIR", directory.resolve("keys").toString());
        server = start("log", "serve");
        try {
            waitUntilHealthy();
        } catch (Exception fault) {
            close();
            throw fault;
        }
    }

    private void waitUntilHealthy() throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(DEADLINE_SECONDS);
        while (server.isAlive() && System.nanoTime() < deadline) {
            try {
                if (get(issuer + "/healthz").statusCode() == 200) {
                    return;
                }
            } catch (IOException notYet) {
                Thread.sleep(20);
            }
        }
        throw new IllegalStateException("firman did not become healthy: " + Files.readString(directory.resolve("log")));
    }

    static HttpResponse<String> get(String url) throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(url)).build();
        return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    }

    private Process start(String output, String... arguments) throws IOException {
        var command = new ArrayList<>(List.of(System.getenv("FIRMAN_BIN")));
        command.addAll(List.of(arguments));
        var builder = new ProcessBuilder(command).directory(directory.toFile());
        builder.environment().clear();
        builder.environment().putAll(environment);
        return builder
                .redirectErrorStream(true)
                .redirectOutput(directory.resolve(output).toFile())
                .start();
    }

    /** Runs one firman command and returns what it printed. */
    String run(String... arguments) throws Exception {
        var command = start("printed", arguments);
        boolean isDone = command.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS);
        var printed = Files.readString(directory.resolve("printed"));
        if (!isDone || command.exitValue() != 0) {
            throw new IllegalStateException("firman " + String.join(" ", arguments) + ": " + printed);
        }
        return printed;
    }

    @Override
    public void close() throws Exception {
        server.destroy();
        if (!server.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS)) {
            server.destroyForcibly();
            throw new IllegalStateException("firman did not stop on SIGTERM");
        }
        try (var files = Files.walk(directory)) {
            for (var path : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }
}
