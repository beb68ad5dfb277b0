// Writes the golden batches beside this file with Kafka's own classes, one NAME.hex each.
//   java -cp 'kafka-clients-4.3.1.jar:...' Golden.java [OUR_BATCHES_HEX]
// With a file of our batches (one hex line each) it reads them with Kafka's classes instead and prints the records.
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.record.internal.Record;

public class Golden {
    static final long T = 1357034400000L;

    public static void main(String[] args) throws Exception {
        if (args.length > 0) {
            for (String line : Files.readAllLines(Path.of(args[0]))) print(HexFormat.of().parseHex(line));
            return;
        }
        write("plain", records(Compression.NONE, TimestampType.CREATE_TIME, false));
        write("gzip", records(Compression.gzip().build(), TimestampType.CREATE_TIME, false));
        write("snappy", records(Compression.snappy().build(), TimestampType.CREATE_TIME, false));
        write("lz4", records(Compression.lz4().build(), TimestampType.CREATE_TIME, false));
        write("zstd", records(Compression.zstd().build(), TimestampType.CREATE_TIME, false));
        write("log-append-time", records(Compression.NONE, TimestampType.LOG_APPEND_TIME, false));
        write("transactional", records(Compression.lz4().build(), TimestampType.CREATE_TIME, true));
        write("commit", MemoryRecords.withEndTransactionMarker(7, T, 5, 4001L, (short) 3,
            new EndTransactionMarker(ControlRecordType.COMMIT, 9)));
        write("abort", MemoryRecords.withEndTransactionMarker(8, T, 5, 4001L, (short) 3,
            new EndTransactionMarker(ControlRecordType.ABORT, 9)));
    }

    static MemoryRecords records(Compression compression, TimestampType type, boolean transactional) {
        MemoryRecordsBuilder builder = new MemoryRecordsBuilder(ByteBuffer.allocate(4096), RecordBatch.MAGIC_VALUE_V2,
            compression, type, 42, T + 999, transactional ? 4001L : -1L, (short) (transactional ? 3 : -1),
            transactional ? 17 : -1, transactional, false, 5, 4096);
        builder.append(T, "key".getBytes(), "value".getBytes());
        builder.append(T - 70000, null, "a value without a key, ".repeat(20).getBytes());
        builder.append(T + 5, "tombstone".getBytes(), null);
        builder.append(T + 6, new byte[0], new byte[0], new Header[] {
            new RecordHeader("a", "1".getBytes()), new RecordHeader("a", (byte[]) null), new RecordHeader("", new byte[0])});
        return builder.build();
    }

    static void write(String name, MemoryRecords records) throws Exception {
        byte[] bytes = new byte[records.sizeInBytes()];
        records.buffer().duplicate().get(bytes);
        Files.writeString(Path.of(name + ".hex"), HexFormat.of().formatHex(bytes).replaceAll("(.{64})", "$1\n").strip() + "\n");
    }

    static void print(byte[] bytes) {
        for (RecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches()) {
            batch.ensureValid();
            System.out.println(batch);
            for (Record record : batch) {
                record.ensureValid();
                System.out.println("  " + record + " headers=" + java.util.Arrays.toString(record.headers()));
            }
        }
    }
}
