// SPDX-License-Identifier: Apache-2.0
// RawHost: an NVMe/TCP host that can say anything, byte by byte, for tests. It lives on the
// reactor of the test.
#pragma once

#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/byte_reader.h"
#include "nvme/spec/command.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/identify.h"
#include "nvme/spec/log_page.h"
#include "nvme/tcp/digest.h"
#include "nvme/tcp/pdu.h"
#include "reactor/io.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::test {

namespace spec = nvme::spec;
namespace tcp = nvme::tcp;
using reactor::Task;

/// A PDU as it came.
struct RawPdu {
    tcp::CommonHeader header;
    std::vector<std::byte> bytes;

    [[nodiscard]] tcp::PduType type() const { return static_cast<tcp::PduType>(header.type); }
    template <typename T>
    [[nodiscard]] T as() const {
        CHECK(bytes.size() >= sizeof(T));
        T out;
        std::memcpy(&out, bytes.data(), sizeof(T));
        return out;
    }
    [[nodiscard]] std::span<const std::byte> data() const {
        const std::size_t digest = (header.flags & tcp::kDataDigest) != 0 ? 4 : 0;
        return std::span(bytes).subspan(header.pdo, bytes.size() - header.pdo - digest);
    }
};

/// How a command ended, and the data it brought.
struct Outcome {
    std::uint16_t status = 0xffff;  ///< FFFFh: the connection ended instead.
    spec::Completion completion;
    std::vector<std::byte> data;
    std::size_t r2ts = 0;
    bool success_flag = false;

    [[nodiscard]] spec::StatusCode code() const { return spec::status_code(status); }
};

struct ConnectOptions {
    std::uint16_t qid = 0;
    std::uint16_t cntlid = spec::kDynamicController;
    std::uint16_t sqsize = 31;
    std::uint8_t attributes = 0;
    std::uint32_t keep_alive_ms = 0;
    std::string subnqn = "nqn.2026-01.test:sub";
    std::string hostnqn = "nqn.2026-01.test:host";
    std::uint8_t host_id = 1;
    std::uint16_t record_format = 0;
};

class RawHost final : private reactor::ReadyHandler {
  public:
    explicit RawHost(std::unique_ptr<reactor::Stream> stream) : stream_(std::move(stream)) {
        stream_->set_handler(this);
    }
    RawHost(const RawHost&) = delete;
    RawHost& operator=(const RawHost&) = delete;
    ~RawHost() = default;

    /// Connected, nothing sent yet.
    static Task<std::unique_ptr<RawHost>> open(reactor::Endpoint at);

    // --- Bytes ---
    void send(std::span<const std::byte> bytes);
    template <typename T>
    void send_struct(const T& value) {
        send(core::as_bytes_of(value));
    }
    void shutdown_send() { stream_->shutdown_send(); }
    [[nodiscard]] bool ended() const { return ended_; }
    bool deaf = false;  ///< Receives nothing while it is set.
    void hear_again() {
        deaf = false;
        take_in();
    }
    /// The next PDU; nothing when the stream ended or `limit` passed.
    Task<std::optional<RawPdu>> next(core::Nanos limit = std::chrono::seconds(5));
    /// Waits for the end of the stream, throwing away what comes. False when `limit` passed.
    Task<bool> wait_end(core::Nanos limit = std::chrono::seconds(5));
    /// The TermReq that ends the connection: its FES, or 0 when none came.
    Task<std::uint16_t> wait_termination();
    std::uint32_t termination_information = 0;

    // --- PDUs ---
    /// ICReq and ICResp. Digests as asked.
    Task<bool> handshake(std::uint8_t dgst = 0, std::uint8_t hpda = 0);
    /// A command capsule with this in-capsule data (possibly none), sealed as negotiated.
    std::vector<std::byte> capsule(const spec::Command& command,
                                   std::span<const std::byte> data = {}) const;
    std::vector<std::byte> h2c_data(std::uint16_t cccid,
                                    std::uint16_t ttag,
                                    std::uint32_t offset,
                                    std::span<const std::byte> data,
                                    bool last) const;

    // --- Commands ---
    static spec::Command connect_command(const ConnectOptions& options);
    static spec::ConnectData connect_data(const ConnectOptions& options);
    Task<Outcome> connect(ConnectOptions options);
    /// Sends a command and serves it to its end: answers R2Ts from `out`, gathers C2HData.
    Task<Outcome> perform(spec::Command command, std::span<const std::byte> out = {});
    /// Serves until the command with this cid has ended.
    Task<Outcome> finish(std::uint16_t cid, std::span<const std::byte> out = {});
    Task<Outcome> property_set(std::uint32_t offset, std::uint64_t value);
    Task<std::uint64_t> property_get(std::uint32_t offset, bool wide = false);
    /// What a host does on the admin queue until the controller is ready.
    Task<bool> enable();
    Task<Outcome> identify(std::uint8_t cns, std::uint32_t nsid = 0);
    Task<Outcome> log_page(spec::LogPage page, std::uint64_t offset, std::uint32_t bytes);
    Task<Outcome> set_feature(std::uint8_t feature, std::uint32_t value);

    std::uint16_t next_cid() { return cid_++; }
    std::uint16_t cntlid = 0;  ///< Of the last successful Connect.
    bool header_digest = false;
    bool data_digest = false;
    tcp::IcResp ic_resp;

    /// Completions that were not asked for by finish(), such as events.
    std::deque<spec::Completion> others;

  private:
    void on_ready(reactor::Readiness readiness) override;
    void push_out();
    void take_in();
    bool pop_pdu(RawPdu& pdu);

    std::unique_ptr<reactor::Stream> stream_;
    reactor::Signal changed_;
    std::vector<std::byte> in_;
    std::vector<std::byte> out_;
    bool ended_ = false;
    std::uint16_t cid_ = 1;
};

inline spec::Command make_command(std::uint8_t opcode,
                                  std::uint32_t nsid,
                                  std::uint32_t bytes,
                                  bool in_capsule) {
    spec::Command command{};
    command.opcode = opcode;
    command.flags = spec::kFlagsSgl;
    command.nsid = nsid;
    command.sgl.length = bytes;
    command.sgl.identifier = in_capsule ? spec::kSglInCapsule : spec::kSglTransport;
    return command;
}

/// A read or write of `blocks` blocks of 512 bytes.
inline spec::Command make_rw(spec::IoOpcode opcode,
                             std::uint64_t lba,
                             std::uint32_t blocks,
                             bool in_capsule = false,
                             std::uint32_t nsid = 1) {
    spec::Command command =
        make_command(static_cast<std::uint8_t>(opcode), nsid, blocks * 512, in_capsule);
    command.cdw10 = static_cast<std::uint32_t>(lba & 0xffffffffU);
    command.cdw11 = static_cast<std::uint32_t>(lba >> 32U);
    command.cdw12 = blocks - 1;
    return command;
}

}  // namespace remora::test
