import io.kroxylicious.proxy.KafkaProxy;
import io.kroxylicious.proxy.config.ConfigParser;
import io.kroxylicious.proxy.internal.config.Features;
import java.nio.file.Files;
import java.nio.file.Path;

/** Starts the proxy from a file: its own program is not published to package registries, its runtime is. */
public class Launcher {
    public static void main(String[] args) throws Exception {
        var parser = new ConfigParser();
        var config = parser.parseConfiguration(Files.readString(Path.of(args[0])));
        try (var proxy = new KafkaProxy(parser, config, Features.builder().build())) {
            proxy.startup();
            proxy.block();
        }
    }
}
