// SPDX-License-Identifier: Apache-2.0
// A vfio-user client that can say anything, for tests and for bench/vfio_load, and memory to share
// with the device. Blocking calls with time-outs, on the caller's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/byte_reader.h"
#include "tests/support/fd.h"
#include "vfio_user/message.h"

namespace remora::test {

/// A memfd, mapped here.
class SharedRam {
  public:
    explicit SharedRam(std::size_t bytes);
    /// The part of `fd` that another side shares; empty bytes() when that fails.
    SharedRam(Fd fd, std::uint64_t offset, std::size_t bytes);
    SharedRam(const SharedRam&) = delete;
    SharedRam& operator=(const SharedRam&) = delete;
    ~SharedRam();

    [[nodiscard]] std::span<std::byte> bytes() const { return {base_, size_}; }
    [[nodiscard]] std::byte* at(std::uint64_t offset) const { return base_ + offset; }
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    Fd fd_;
    std::byte* base_ = nullptr;
    std::size_t size_ = 0;
};

/// What came back on the socket.
struct VfioReply {
    vfio_user::Header header;
    std::vector<std::byte> payload;
    std::vector<Fd> fds;

    [[nodiscard]] bool failed() const {
        return (header.flags & vfio_user::header_flags::kError) != 0;
    }
    /// The errno of a failed one, else 0.
    [[nodiscard]] int error() const { return failed() ? static_cast<int>(header.error) : 0; }
    template <typename T>
    [[nodiscard]] std::optional<T> as() const {
        T value;
        core::ByteReader reader(payload);
        return reader.read(value) ? std::optional<T>(value) : std::nullopt;
    }
};

class VfioClient {
  public:
    static constexpr int kTimeoutMs = 10'000;
    /// What QEMU 11 sends.
    static constexpr std::string_view kQemuCapabilities =
        R"({"capabilities": {"migration": {"pgsize": 4096, "max_bitmap_size": 8589934592}, )"
        R"("max_msg_fds": 16, "max_data_xfer_size": 1048576, "pgsizes": 4096, )"
        R"("max_dma_maps": 65535, "write_multiple": true}})";

    explicit VfioClient(Fd socket) : fd_(std::move(socket)) {}
    static std::optional<VfioClient> connect(const std::string& path);

    /// Sends bytes as they are, with descriptors on the first.
    bool send_bytes(std::span<const std::byte> bytes, std::span<const int> fds = {});
    /// Returns the id of the message.
    std::uint16_t send(vfio_user::Command command,
                       std::span<const std::byte> payload = {},
                       std::span<const int> fds = {},
                       std::uint32_t flags = 0);
    std::optional<VfioReply> receive(int timeout_ms = kTimeoutMs);
    bool closed_by_peer(int timeout_ms = kTimeoutMs) { return closes(fd_.get(), timeout_ms); }
    void disconnect() { fd_ = Fd(); }
    [[nodiscard]] int fd() const { return fd_.get(); }

    /// Sends and waits for the reply to it.
    std::optional<VfioReply> call(vfio_user::Command command,
                                  std::span<const std::byte> payload = {},
                                  std::span<const int> fds = {});
    template <typename T>
    std::optional<VfioReply> call_with(vfio_user::Command command,
                                       const T& payload,
                                       std::span<const int> fds = {}) {
        return call(command, core::as_bytes_of(payload), fds);
    }

    // Whole exchanges; errors are the errno of the reply, or -1 when there was none.
    std::optional<std::string> negotiate(std::string_view capabilities = kQemuCapabilities);
    int map(std::uint64_t address,
            std::uint64_t size,
            int fd,
            std::uint64_t offset = 0,
            std::uint32_t flags = vfio_user::kDmaReadable | vfio_user::kDmaWriteable);
    int unmap(std::uint64_t address, std::uint64_t size);
    std::optional<VfioReply> region_info(std::uint32_t index, std::uint32_t argsz);
    std::optional<vfio_user::IrqInfo> irq_info(std::uint32_t index);
    int set_irqs(std::uint32_t index,
                 std::uint32_t flags,
                 std::uint32_t start,
                 std::uint32_t count,
                 std::span<const int> fds = {},
                 std::span<const std::byte> data = {});
    int read(std::uint32_t region, std::uint64_t offset, std::span<std::byte> to);
    int write(std::uint32_t region, std::uint64_t offset, std::span<const std::byte> from);
    template <typename T>
    std::optional<T> read_as(std::uint32_t region, std::uint64_t offset) {
        T value{};
        return read(region, offset, std::as_writable_bytes(std::span(&value, 1))) == 0
                   ? std::optional<T>(value)
                   : std::nullopt;
    }
    template <typename T>
    int write_as(std::uint32_t region, std::uint64_t offset, T value) {
        return write(region, offset, std::as_bytes(std::span(&value, 1)));
    }
    int reset();
    // Migration.
    int change_state(vfio_user::DeviceState to);
    std::optional<vfio_user::DeviceState> device_state();
    /// All of it; nothing when a read is refused.
    std::optional<std::vector<std::byte>> read_state(std::uint32_t bytes_a_time = 4096);
    int write_state(std::span<const std::byte> state, std::size_t bytes_a_time = 4096);

  private:
    static int error_of(const std::optional<VfioReply>& reply) {
        return reply ? reply->error() : -1;
    }

    Fd fd_;
    std::uint16_t next_id_ = 1;
};

}  // namespace remora::test
