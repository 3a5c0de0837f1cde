// SPDX-License-Identifier: Apache-2.0
// FakeTarget: a small NVMe/TCP target for the host's tests. By itself it behaves; hooks and fields
// make it lie, keep silent or die. It speaks the raw wire and shares only the structures with the
// code under test. On the reactor that made it.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/uuid.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/identify.h"
#include "nvme/spec/log_page.h"
#include "nvme/tcp/pdu.h"
#include "reactor/io.h"
#include "reactor/reactor.h"

namespace remora::test {

/// A structure out of received bytes.
template <typename T>
T load(std::span<const std::byte> bytes) {
    T out;
    CHECK(bytes.size() >= sizeof(T));
    std::memcpy(&out, bytes.data(), sizeof(T));
    return out;
}

struct FakeNamespace {
    core::Uuid uuid;
    std::array<unsigned char, 16> nguid{};
    std::uint8_t block_shift = 9;
    std::uint64_t block_count = 8192;
    std::uint8_t dlfeat = 1;
    std::vector<std::byte> data;
    std::uint32_t ana_group = 0;
};

class FakeConnection;

class FakeTarget final : private reactor::AcceptHandler {
  public:
    explicit FakeTarget(reactor::Reactor& reactor);
    FakeTarget(const FakeTarget&) = delete;
    FakeTarget& operator=(const FakeTarget&) = delete;
    ~FakeTarget();

    [[nodiscard]] reactor::Endpoint endpoint() const { return endpoint_; }
    FakeNamespace& add_namespace(std::uint32_t nsid,
                                 std::uint64_t blocks = 8192,
                                 std::uint8_t block_shift = 9);
    /// All connections break and nobody listens any more, as when the process is killed.
    void die();
    /// Listens again at the same place.
    void revive();
    void break_connections();
    /// Ends waiting event requests with "namespaces changed".
    void tell_namespaces_changed() { tell(nvme::spec::kNoticeNamespaces); }
    /// The same with another DW0.
    void tell(std::uint32_t event);
    /// Reports ANA, with one group of every namespace in this state (as on the wire).
    void set_ana(std::uint8_t state);
    [[nodiscard]] std::vector<FakeConnection*> connections() const;

    // What it says.
    std::string subnqn = "nqn.2024-01.org.example:fake";
    std::map<std::uint32_t, FakeNamespace> namespaces;
    std::uint8_t digests = 0;  ///< Offered, when the host asks.
    std::uint8_t cpda = 0;
    std::uint32_t maxh2cdata = 65536;
    std::uint32_t in_capsule = 16384;
    std::uint8_t mdts = 6;
    std::uint32_t r2t_bytes = 65536;   ///< Asked for by one R2T.
    std::uint32_t c2h_bytes = 100000;  ///< In one C2HData; odd on purpose.
    std::uint32_t queues = 64;
    bool flow_control_off = true;  ///< As the host asks; then SUCCESS is used.
    std::uint16_t connect_status = 0;
    std::uint32_t connect_dw0 = 0;
    std::vector<nvme::spec::DiscoveryLogEntry> log;
    std::uint64_t log_generation = 1;
    std::uint32_t never_ready_reads = 0;  ///< CSTS says "not ready" so many times.
    bool never_closes = false;  ///< Keeps its end of a connection that the host has ended.
    std::uint8_t cmic = 0;
    std::uint8_t anatt = 10;
    std::uint32_t ana_groups = 4;    ///< NANAGRPID and ANAGRPMAX.
    std::vector<std::byte> ana_log;  ///< Log page 0Ch as it is.

    /// Sees every PDU first; true: it is dealt with.
    std::function<bool(FakeConnection&, const nvme::tcp::CommonHeader&, std::span<const std::byte>)>
        on_pdu;
    /// Sees every command of an I/O queue first (after Connect).
    std::function<bool(FakeConnection&, const nvme::spec::Command&, std::span<const std::byte>)>
        on_io;

    // What it saw.
    std::vector<nvme::spec::Command> io_log;
    int connects = 0;  ///< Admin queues.
    int io_connects = 0;
    int keep_alives = 0;
    int connections_made = 0;
    int log_reads = 0;
    int ana_reads = 0;
    std::uint32_t event_mask = 0;
    std::vector<nvme::tcp::TermReq> term_requests;

    reactor::Reactor& reactor() { return reactor_; }

  private:
    friend class FakeConnection;
    void on_accept(reactor::Handle connection) override;
    void sweep();

    reactor::Reactor& reactor_;
    reactor::Endpoint endpoint_;
    std::unique_ptr<reactor::Acceptor> acceptor_;
    std::vector<std::unique_ptr<FakeConnection>> connections_;
};

/// One connection of a FakeTarget.
class FakeConnection final : private reactor::ReadyHandler {
  public:
    FakeConnection(FakeTarget& target, std::unique_ptr<reactor::Stream> stream);

    void send(std::span<const std::byte> bytes);
    void respond(std::uint16_t cid,
                 std::uint16_t status,
                 std::uint32_t dw0 = 0,
                 std::uint32_t dw1 = 0);
    /// Success, and behind it in the same send what ends the connection.
    void respond_and_break(std::uint16_t cid);
    void send_data(std::uint16_t cid,
                   std::uint32_t offset,
                   std::span<const std::byte> data,
                   std::uint8_t flags);
    void send_r2t(std::uint16_t cid, std::uint16_t ttag, std::uint32_t offset, std::uint32_t bytes);
    /// Serves a command of an I/O queue as a good target does.
    void serve_io(const nvme::spec::Command& command, std::span<const std::byte> data);
    void close();
    [[nodiscard]] bool closed() const { return !stream_; }
    [[nodiscard]] std::uint16_t queue_id() const { return qid_; }
    [[nodiscard]] bool event_waits() const { return event_waits_; }

    /// Flips a bit in the next digest of the kind that is sent.
    bool spoil_header_digest = false;
    bool spoil_data_digest = false;
    bool dribble = false;  ///< Sends byte by byte, one a turn.

  private:
    friend class FakeTarget;
    struct Writing {
        nvme::spec::Command command;
        std::vector<std::byte> data;
        std::uint32_t asked = 0;
        std::uint32_t have = 0;
    };

    void on_ready(reactor::Readiness readiness) override;
    void flush();
    void dribble_on();
    void take(std::span<const std::byte> pdu);
    [[nodiscard]] std::span<const std::byte> data_of(std::span<const std::byte> pdu) const;
    void on_ic_req(const nvme::tcp::IcReq& request);
    void on_command(std::span<const std::byte> pdu);
    void on_h2c_data(std::span<const std::byte> pdu);
    void on_fabrics(const nvme::spec::Command& command, std::span<const std::byte> data);
    void on_admin(const nvme::spec::Command& command, std::span<const std::byte> data);
    void identify(const nvme::spec::Command& command);
    void read_log(const nvme::spec::Command& command);
    void serve_read(const nvme::spec::Command& command);
    void write_done(const nvme::spec::Command& command, std::span<const std::byte> data);
    void ask(std::uint16_t cid);
    void send_pdu(std::vector<std::byte> header,
                  std::span<const std::byte> data,
                  std::uint8_t flags);
    void answer_data(const nvme::spec::Command& command, std::span<const std::byte> data);

    FakeTarget& target_;
    std::unique_ptr<reactor::Stream> stream_;
    std::vector<std::byte> in_;
    std::vector<std::byte> out_;
    std::uint8_t digests_ = 0;
    std::uint16_t qid_ = 0;
    std::uint32_t cc_ = 0;
    bool event_waits_ = false;
    bool dribbling_ = false;
    std::uint16_t event_cid_ = 0;
    std::map<std::uint16_t, Writing> writing_;
};

}  // namespace remora::test
