package firman;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/** Claude's SDK for Java, which knows nothing of firman, gets its messages answered by the simulation of Claude. */
public final class AnthropicTest {
    private static final long DEADLINE_SECONDS = 60;
    private static final String BINARY = System.getenv()
        .getOrDefault("FIRMAN_BIN", new File("../../../../target/debug/firman").getAbsolutePath());
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    private static Path directory;
    private static Map<String, String> environment;
    private static JsonNode claude;
    private static String issuer;

    interface Test {
        void run(Site agent) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        directory = Files.createTempDirectory("firman-sdk-");
        int[] ports = freePorts();
        issuer = "http://127.0.0.1:" + ports[0];
        environment = Map.of(
            "PATH", System.getenv("PATH"),
            "FIRMAN_LISTEN", "127.0.0.1:" + ports[0],
            "FIRMAN_ADMIN_LISTEN", "127.0.0.1:" + ports[1],
            "FIRMAN_DATA_DIR", directory.resolve("data").toString(),
            "FIRMAN_KEYS_DIR", directory.resolve("keys").toString(),
            "ANTHROPIC_ADMIN_TOKEN", "sk-ant-oat01-the-administrator-of-the-simulation");
        Process serve = start(environment, BINARY, "serve");
        Process simulate = start(environment, BINARY, "claude", "simulate", "--listen", "127.0.0.1:0", "--output", "json");
        int failed;
        try {
            claude = JSON.readTree(new BufferedReader(new InputStreamReader(simulate.getInputStream())).readLine());
            awaitHealth();
            firman("resource", "add", "claude", "--profile", "claude");
            firman("role", "add", "claude-user", "--grant", "claude");
            failed = runAll();
        } finally {
            for (Process process : List.of(simulate, serve)) {
                process.destroy();
                process.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS);
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    private static int runAll() {
        Map<String, Test> tests = new LinkedHashMap<>();
        tests.put("twenty new clients in a row below exec are all answered", AnthropicTest::twentyClients);
        tests.put("five processes in a row below exec are all answered", AnthropicTest::fiveProcesses);
        tests.put("the variables as printed", AnthropicTest::variables);
        tests.put("the profile as printed, in the home of the Java property", AnthropicTest::profile);
        tests.put("a profile whose directory is read-only needs credentials_path", AnthropicTest::readOnlyProfile);
        tests.put("an empty variable", AnthropicTest::emptyVariables);
        tests.put("a refusal carries the request id", AnthropicTest::refusal);
        tests.put("a header of the environment wins unless exec removes it", AnthropicTest::header);
        int failed = 0;
        for (Map.Entry<String, Test> test : tests.entrySet()) {
            long start = System.nanoTime();
            String result = "ok";
            try {
                test.getValue().run(new Site("java-" + (start % 1_000_000_000)));
            } catch (Exception | AssertionError error) {
                failed++;
                result = "FAILED: " + error;
            }
            System.out.printf("%s (%.1f s) ... %s%n", test.getKey(), (System.nanoTime() - start) / 1e9, result);
        }
        System.out.printf("%d passed, %d failed, 0 skipped%n", tests.size() - failed, failed);
        return failed;
    }

    // --- The tests ------------------------------------------------------------------------------

    private static void twentyClients(Site agent) throws Exception {
        agent.assertAnswered(agent.ask("message\n".repeat(20), environment, agent.below()), 20);
        agent.assertExchanges(20);
    }

    private static void fiveProcesses(Site agent) throws Exception {
        List<String> command = agent.below("sh", "-c", "for _ in $(seq 5); do echo message | \"$@\"; done", "sh");
        agent.assertAnswered(agent.ask("", environment, command), 5);
        agent.assertExchanges(5);
    }

    private static void variables(Site agent) throws Exception {
        agent.writeToken();
        agent.assertAnswered(agent.ask("message\n", agent.printed(Map.of()), program()), 1);
        agent.assertExchanges(1);
    }

    private static void profile(Site agent) throws Exception {
        agent.writeToken();
        agent.installProfile(agent.home.resolve(".config/anthropic"), agent.printedProfile());
        Map<String, String> bare = agent.bare(Map.of("ANTHROPIC_PROFILE", "mailer", "HOME", "/nonexistent"));
        List<String> command = program("-Duser.home=" + agent.home);
        agent.assertAnswered(agent.ask("message\n", bare, command), 1);
        // The exchanged token is kept beside it.
        agent.assertAnswered(agent.ask("message\n", bare, command), 1);
        agent.assertExchanges(1);
        // Another directory, and none by XDG_CONFIG_HOME.
        Path elsewhere = agent.home.resolve("elsewhere/anthropic");
        agent.installProfile(elsewhere, agent.printedProfile());
        agent.writeToken();
        bare = agent.bare(Map.of("ANTHROPIC_PROFILE", "mailer", "ANTHROPIC_CONFIG_DIR", elsewhere.toString()));
        agent.assertAnswered(agent.ask("message\n", bare, program("-Duser.home=/nonexistent")), 1);
        bare = agent.bare(Map.of("ANTHROPIC_PROFILE", "mailer", "XDG_CONFIG_HOME", elsewhere.getParent().toString()));
        String error = agent.ask("message\n", bare, program("-Duser.home=/nonexistent")).get(0).path("error").asText();
        check(error.contains("not found at /nonexistent/.config/anthropic/configs/mailer.json"), error);
    }

    private static void readOnlyProfile(Site agent) throws Exception {
        Path config = agent.home.resolve("config");
        agent.installProfile(config, agent.printedProfile());
        // A file in the place of the directory cannot be written below, even by root.
        Files.writeString(config.resolve("credentials"), "");
        Map<String, String> bare = agent.bare(Map.of("ANTHROPIC_PROFILE", "mailer", "ANTHROPIC_CONFIG_DIR", config.toString()));
        agent.writeToken();
        String error = agent.ask("message\n", bare, program()).get(0).path("error").asText();
        // The exchange goes well, its token cannot be kept, and the SDK tries again with the same identity token.
        check(error.contains("401"), error);
        List<String> results = new ArrayList<>();
        for (JsonNode attempt : agent.attempts()) {
            results.add(attempt.at("/status/reason").asText("success"));
        }
        check(results.size() > 1 && results.remove(0).equals("success"), results.toString());
        check(Set.copyOf(results).equals(Set.of("jti_reused")), results.toString());
        JsonNode profile = JSON.readTree(agent.printedProfile());
        ((com.fasterxml.jackson.databind.node.ObjectNode) profile.get("authentication"))
            .put("credentials_path", agent.home.resolve("claude-credentials.json").toString());
        agent.installProfile(config, profile.toString());
        agent.writeToken();
        agent.assertAnswered(agent.ask("message\n", bare, program()), 1);
    }

    private static void emptyVariables(Site agent) throws Exception {
        agent.writeToken();
        Map<String, String> unset = Map.of("ANTHROPIC_API_KEY", "", "ANTHROPIC_AUTH_TOKEN", "", "ANTHROPIC_WORKSPACE_ID", "");
        agent.assertAnswered(agent.ask("message\n", agent.printed(unset), program()), 1);
        for (String variable : List.of("ANTHROPIC_PROFILE", "ANTHROPIC_IDENTITY_TOKEN_FILE")) {
            String error = agent.ask("message\n", agent.printed(Map.of(variable, "")), program()).get(0).path("error").asText();
            check(!error.isEmpty(), variable + " counts as unset");
        }
        agent.assertExchanges(1);
    }

    private static void refusal(Site agent) throws Exception {
        agent.writeToken();
        agent.assertAnswered(agent.ask("message\n", agent.printed(Map.of()), program()), 1);
        JsonNode refused = agent.ask("message\n", agent.printed(Map.of()), program()).get(0);
        List<JsonNode> attempts = agent.attempts();
        check(attempts.size() == 2, attempts + " are the attempts");
        check(attempts.get(1).at("/status/reason").asText().equals("jti_reused"), attempts.get(1).toString());
        check(refused.path("request_id").equals(attempts.get(1).get("request_id")), refused.toString());
    }

    private static void header(Site agent) throws Exception {
        Map<String, String> leftover = Map.of("ANTHROPIC_CUSTOM_HEADERS", "x-trace: 1\nAUTHORIZATION: Bearer leftover");
        agent.writeToken();
        JsonNode refused = agent.ask("message\n", agent.printed(leftover), program()).get(0);
        check(refused.path("error").asText().contains("401"), refused.toString());
        agent.assertExchanges(0);
        Map<String, String> inherited = new HashMap<>(environment);
        inherited.putAll(leftover);
        agent.assertAnswered(agent.ask("message\n", inherited, agent.below()), 1);
    }

    // --- An agent -------------------------------------------------------------------------------

    /** An agent that was made and connected as the guide says. */
    private static final class Site {
        final String name;
        final Path home;
        final Path key;
        final Path file;
        final Map<String, String> variables = new LinkedHashMap<>();

        Site(String name) throws Exception {
            this.name = name;
            home = Files.createDirectory(directory.resolve(name));
            key = home.resolve("key.pem");
            file = home.resolve("identity-token");
            firman("agent", "add", name, "--owner", "team-java", "--role", "claude-user", "--generate-key", key.toString());
            firman(connect("--organization", claude.get("organization_id").asText(), "--apply", "--yes"));
            for (String line : firman(connect("--format", "env")).split("\n")) {
                String[] pair = line.split("=", 2);
                variables.put(pair[0], pair[1]);
            }
        }

        private String[] connect(String... options) {
            List<String> words = new ArrayList<>(List.of("claude", "connect", "--agent", name));
            words.addAll(List.of("--base-url", claude.get("url").asText(), "--token-file", file.toString()));
            words.addAll(List.of(options));
            return words.toArray(String[]::new);
        }

        String printedProfile() throws Exception {
            return firman(connect("--format", "profile"));
        }

        void installProfile(Path config, String profile) throws Exception {
            Path configs = Files.createDirectories(config.resolve("configs"));
            Path path = Files.writeString(configs.resolve("mailer.json"), profile);
            Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rw-------"));
        }

        void writeToken() throws Exception {
            firman("token", "get", "--issuer", issuer, "--client-id", name, "--key", key.toString(), "--out", file.toString());
        }

        /** `firman exec` with the command, and the agent's program at its end. */
        List<String> below(String... command) {
            List<String> words = new ArrayList<>(List.of(BINARY, "exec", "--agent", name, "--key", key.toString()));
            words.addAll(List.of("--base-url", claude.get("url").asText(), "--"));
            words.addAll(List.of(command));
            words.addAll(program());
            return words;
        }

        /** A home, a path and what is given. */
        Map<String, String> bare(Map<String, String> others) {
            Map<String, String> all = new HashMap<>(Map.of("PATH", System.getenv("PATH"), "HOME", home.toString()));
            all.putAll(others);
            return all;
        }

        /** The variables as printed, and others. */
        Map<String, String> printed(Map<String, String> others) {
            Map<String, String> all = bare(variables);
            all.putAll(others);
            return all;
        }

        List<JsonNode> ask(String input, Map<String, String> environment, List<String> command) throws Exception {
            return JSON.readerFor(JsonNode.class).<JsonNode>readValues(output(input, environment, command)).readAll();
        }

        void assertAnswered(List<JsonNode> outcomes, int count) throws Exception {
            String expected = "simulated answer for " + variables.get("ANTHROPIC_SERVICE_ACCOUNT_ID");
            check(outcomes.size() == count, outcomes.toString());
            for (JsonNode outcome : outcomes) {
                check(outcome.path("text").asText().equals(expected), outcome + " " + attempts());
            }
        }

        /** The exchanges by this agent's rule, oldest first. */
        List<JsonNode> attempts() throws Exception {
            HttpRequest request = HttpRequest.newBuilder(URI.create(claude.get("history_url").asText())).build();
            JsonNode history = JSON.readTree(HTTP.send(request, HttpResponse.BodyHandlers.ofString()).body());
            List<JsonNode> attempts = new ArrayList<>();
            for (JsonNode attempt : history.get("data")) {
                if (attempt.at("/event_data/federation_rule_id").asText().equals(variables.get("ANTHROPIC_FEDERATION_RULE_ID"))) {
                    attempts.add(0, attempt);
                }
            }
            return attempts;
        }

        /** So many tokens were taken, all different, and none was refused. */
        void assertExchanges(int count) throws Exception {
            Set<String> tokens = new HashSet<>();
            List<JsonNode> attempts = attempts();
            for (JsonNode attempt : attempts) {
                check(attempt.at("/status/outcome").asText().equals("success"), attempt.toString());
                tokens.add(attempt.at("/event_data/oidc_token/jti").asText());
            }
            check(attempts.size() == count && tokens.size() == count, attempts.size() + " exchanges of " + tokens.size() + " tokens");
        }
    }

    // --- Processes ------------------------------------------------------------------------------

    private static List<String> program(String... options) {
        // A small machine starts faster with these.
        List<String> words = new ArrayList<>(List.of("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"));
        words.addAll(List.of(options));
        words.addAll(List.of("-cp", classPath(), Agent.class.getName()));
        return words;
    }

    /** The class path of this program, which Maven runs inside itself. */
    private static String classPath() {
        StringBuilder path = new StringBuilder();
        ClassLoader loader = Thread.currentThread().getContextClassLoader();
        for (java.net.URL url : ((java.net.URLClassLoader) loader).getURLs()) {
            path.append(path.length() == 0 ? "" : File.pathSeparator).append(Path.of(URI.create(url.toString())));
        }
        return path.toString();
    }

    private static String firman(String... arguments) throws Exception {
        List<String> command = new ArrayList<>(List.of(BINARY));
        command.addAll(List.of(arguments));
        return output("", environment, command);
    }

    private static Process start(Map<String, String> environment, String... command) throws Exception {
        ProcessBuilder builder = new ProcessBuilder(command).directory(directory.toFile());
        builder.environment().clear();
        builder.environment().putAll(environment);
        File log = directory.resolve("log").toFile();
        return builder.redirectError(ProcessBuilder.Redirect.appendTo(log)).start();
    }

    private static String output(String input, Map<String, String> environment, List<String> command) throws Exception {
        Process process = start(environment, command.toArray(String[]::new));
        process.getOutputStream().write(input.getBytes());
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes());
        check(process.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS), command + " does not end");
        String log = Files.readString(directory.resolve("log"));
        check(process.exitValue() == 0, command + ": " + process.exitValue() + "\n" + output + log.substring(Math.max(0, log.length() - 2000)));
        return output;
    }

    private static int[] freePorts() throws Exception {
        try (ServerSocket one = new ServerSocket(0); ServerSocket other = new ServerSocket(0)) {
            return new int[] {one.getLocalPort(), other.getLocalPort()};
        }
    }

    private static void awaitHealth() throws Exception {
        HttpRequest health = HttpRequest.newBuilder(URI.create(issuer + "/healthz")).build();
        for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(DEADLINE_SECONDS); ; Thread.sleep(50)) {
            try {
                if (HTTP.send(health, HttpResponse.BodyHandlers.discarding()).statusCode() == 200) {
                    return;
                }
            } catch (java.io.IOException notYet) {
                check(System.nanoTime() < end, "firman did not become healthy");
            }
        }
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }
}
