import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

/** Consumes, masks digits, produces. Arguments: broker guarantee commitMs threads in out stateDir [keepstamp] */
public class StreamsPipeline {
  static byte[] mask(byte[] v) {
    byte[] o = v.clone();
    for (int i = 0; i < o.length; i++) if (o[i] >= '0' && o[i] <= '9') o[i] = '#';
    return o;
  }
  public static void main(String[] a) throws Exception {
    Properties p = new Properties();
    p.put("application.id", "peer-" + a[4] + "-" + a[5]);
    p.put("bootstrap.servers", a[0]);
    p.put("default.key.serde", Serdes.ByteArraySerde.class);
    p.put("default.value.serde", Serdes.ByteArraySerde.class);
    p.put("processing.guarantee", a[1]);
    p.put("commit.interval.ms", a[2]);
    p.put("num.stream.threads", a[3]);
    p.put("auto.offset.reset", "earliest");
    p.put("topology.optimization", "all");
    p.put("state.dir", a[6]);
    StreamsBuilder b = new StreamsBuilder();
    KStream<byte[], byte[]> in = b.stream(a[4]);
    if (a.length > 7 && a[7].equals("keepstamp"))
      in.mapValues(v -> { byte[] o = mask(v); System.arraycopy(v, 0, o, 0, 16); return o; }).to(a[5]);
    else in.mapValues(StreamsPipeline::mask).to(a[5]);
    KafkaStreams s = new KafkaStreams(b.build(p), p);
    Runtime.getRuntime().addShutdownHook(new Thread(s::close));
    s.start();
    Thread.currentThread().join();
  }
}
