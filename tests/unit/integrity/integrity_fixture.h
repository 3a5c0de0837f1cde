// SPDX-License-Identifier: Apache-2.0
// IntegrityFixture: an IntegrityDevice over a CrashDisk, on one reactor in a world where nothing
// happens but what the test does. Log lines are kept.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/log.h"
#include "memory/buffer_pool.h"
#include "services/integrity/integrity_channel.h"
#include "services/integrity/integrity_device.h"
#include "services/integrity/integrity_format.h"
#include "tests/support/block_client.h"
#include "tests/unit/block/still_world.h"
#include "tests/unit/integrity/crash_disk.h"

namespace remora::services::integrity {

class IntegrityFixture : public block::StillWorld {
  public:
    static constexpr std::uint32_t kBlock = 512;
    static constexpr std::uint64_t kBlocks = 4000;  // below

    IntegrityFixture() : pool(std::move(*memory::BufferPool::create(4 * core::kMiB))) {
        core::log::set_sink(keep_line);
        lines.clear();
        new_disk(true);
        options.name = "v";
        options.uuid.bytes = {1, 2, 3};
    }
    ~IntegrityFixture() override {
        close();
        core::log::set_sink(nullptr);
    }

    void new_disk(bool volatile_cache, std::uint32_t block_size = kBlock) {
        disk = std::make_unique<CrashDisk>(block_size, kBlocks, volatile_cache);
    }
    /// Of making or opening the device; it has a channel then.
    core::Result<void> make(bool create) {
        core::Result<void> result;
        const block::ReactorContext context{reactor, *pool};
        run([&]() -> reactor::Task<> {
            auto made =
                create ? co_await IntegrityDevice::create(options, *disk, std::span(&context, 1))
                       : co_await IntegrityDevice::open(options, *disk, std::span(&context, 1));
            if (made) {
                device = std::move(*made);
                channel = std::move(*device->open_channel());
                client = std::make_unique<test::BlockClient>(*channel);
                device->set_scrub_rate(0);
                layout = *plan_layout(disk->shape);
            } else {
                result = std::unexpected(made.error());
            }
        });
        return result;
    }
    void create() {
        ASSERT_TRUE(make(true));
        disk->seen.clear();
    }
    void open() {
        ASSERT_TRUE(make(false));
        disk->seen.clear();
    }
    void close() {
        if (device == nullptr) {
            return;
        }
        on_reactor([this] { channel.reset(); });
        disk->automatic = true;
        run([this]() -> reactor::Task<> { co_await device->stop(); });
        device.reset();
    }
    /// As after a crash: memory is forgotten, and nothing is written.
    void forget() {
        disk->crash(CrashDisk::Crash::Process, prng);
        close();
        disk->revive();
    }

    /// A request over `bytes` as one segment.
    struct Io {
        Io(block::Opcode opcode, std::uint64_t lba, std::uint32_t count, std::span<std::byte> bytes)
            : segment{bytes.data(), bytes.size()} {
            request.opcode = opcode;
            request.lba = lba;
            request.block_count = count;
            if (!bytes.empty()) {
                request.data = std::span(&segment, 1);
            }
        }
        core::Segment segment;
        test::AwaitedRequest request;
    };
    void start(Io& io) {
        on_reactor([&] { client->start(io.request); });
    }
    block::Status perform(Io& io) {
        start(io);
        for (int i = 0; i < 100'000 && !io.request.finished; ++i) {
            reactor.turn();
        }
        EXPECT_TRUE(io.request.finished);
        EXPECT_EQ(io.request.completions, 1);
        return io.request.status;
    }
    block::Status write(std::uint64_t lba, Bytes bytes, bool fua = false) {
        Io io(block::Opcode::Write, lba, blocks_of(bytes), bytes);
        io.request.force_unit_access = fua;
        return perform(io);
    }
    block::Status read(std::uint64_t lba, Bytes& bytes) {
        Io io(block::Opcode::Read, lba, blocks_of(bytes), bytes);
        return perform(io);
    }
    /// The status, and that the bytes are those if it is Ok.
    block::Status read_and_compare(std::uint64_t lba, const Bytes& wanted) {
        Bytes bytes(wanted.size(), std::byte{0xee});
        const block::Status status = read(lba, bytes);
        if (status == block::Status::Ok) {
            EXPECT_EQ(bytes, wanted);
        }
        return status;
    }
    block::Status clear(block::Opcode opcode, std::uint64_t lba, std::uint32_t count) {
        Io io(opcode, lba, count, {});
        return perform(io);
    }
    block::Status flush() { return clear(block::Opcode::Flush, 0, 0); }
    void let_go(std::size_t count, block::Status status = block::Status::Ok) {
        for (; count > 0 && disk->held() > 0; --count) {
            on_reactor([&] { disk->let_go(0, status, prng); });
        }
    }
    void let_all_go() {
        while (disk->held() > 0) {
            let_go(1);
        }
    }
    /// Long enough for the keeper to settle what is idle, twice over.
    void pass_time() {
        for (int i = 0; i < 4; ++i) {
            clock.time += std::chrono::milliseconds(1100);
            settle();
        }
    }
    void scrub() {
        ASSERT_TRUE(device->start_scrub());
        for (int i = 0; i < 100'000 && device->status().scrub.running; ++i) {
            reactor.turn();
        }
        ASSERT_FALSE(device->status().scrub.running);
    }

    [[nodiscard]] std::uint64_t below(std::uint64_t lba) const { return layout.data_start + lba; }
    [[nodiscard]] std::uint64_t leaf_of(std::uint64_t lba) const {
        return layout.page_block(0) + lba / layout.leaf_entries();
    }
    [[nodiscard]] std::uint32_t blocks_of(const Bytes& bytes) const {
        return static_cast<std::uint32_t>(bytes.size() / disk->shape.block_size);
    }
    [[nodiscard]] static std::size_t lines_with(std::string_view text) {
        return static_cast<std::size_t>(std::ranges::count_if(
            lines, [text](const std::string& line) { return line.contains(text); }));
    }

    IntegrityOptions options;
    std::unique_ptr<memory::BufferPool> pool;
    std::unique_ptr<CrashDisk> disk;
    std::unique_ptr<IntegrityDevice> device;
    std::unique_ptr<block::Channel> channel;
    std::unique_ptr<test::BlockClient> client;
    Layout layout;
    core::Prng prng{5};
    static inline std::vector<std::string> lines;

  private:
    static void keep_line(core::log::Level /*level*/, std::string_view line) {
        lines.emplace_back(line);
    }
};

}  // namespace remora::services::integrity
