// SPDX-License-Identifier: Apache-2.0
// QueuePair: one NVMe/TCP connection, host side, on one reactor: a submission and a completion
// queue of an association (admin or I/O).
//
//   submit ─► slot, tx ring ─► flush (end of turn): many capsules in one sendmsg
//   on_ready ─► recv into staging ─► PDUs parsed in place ─► payload to the segments
//                                                        └─► completions, a batch, to the handler
//
// A command has a slot of a fixed table from submit to completion. Its identifier is the slot's
// number and a generation, so an answer that is late, doubled or invented names no command and
// ends the connection: on a sound connection no command is given up before its answer.
//
// Every length, offset, type, identifier and digest a controller sends is checked; a PDU that
// breaks the rules is answered with H2CTermReq (NVMe/TCP Transport 1.0 §3.6.2) and fails this
// connection alone. A data digest that does not match fails that command alone (§3.3.2).
//
// Ends: fail() by itself or by its owner; then the handler looks at what was outstanding, once, and
// close() waits until the connection is gone.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/nvme_tcp/slot.h"
#include "core/crc32c.h"
#include "core/result.h"
#include "nvme/tcp/decoder.h"
#include "reactor/endpoint.h"
#include "reactor/io.h"
#include "reactor/reactor.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::backends::nvme_tcp {

using core::Nanos;
using core::Result;
using reactor::Task;

struct QueuePairOptions {
    reactor::Endpoint endpoint;
    std::uint16_t queue_id = 0;     ///< 0: admin.
    std::uint32_t queue_size = 32;  ///< Entries; one less can be outstanding. 2..kMaxQueueSize.
    std::uint32_t in_capsule = 0;   ///< Data bytes that may go with a command.
    bool header_digest = false;     ///< Ask for it; the controller decides.
    bool data_digest = false;
    std::string subnqn;
    std::string hostnqn;
    std::array<unsigned char, 16> hostid{};
    std::uint16_t cntlid = 0xffff;    ///< Of the association; FFFFh lets the controller choose.
    std::uint32_t keep_alive_ms = 0;  ///< Admin queue only.
    Nanos connect_timeout = std::chrono::seconds(5);  ///< TCP, ICResp, Connect: each.
};

/// Most a queue may have: slot numbers take ten bits of the identifier and FFFFh stays unused.
constexpr std::uint32_t kMaxQueueSize = 1024;

/// On the queue pair's reactor, never from within submit().
class QueuePairHandler {
  public:
    virtual void on_completions(std::span<const Completion> completions) = 0;
    /// The connection has failed. visit_outstanding() is good until this returns.
    virtual void on_down(const core::Error& reason) = 0;

  protected:
    ~QueuePairHandler() = default;
};

struct QueuePairStats {
    std::uint64_t commands = 0;
    std::uint64_t receives = 0;
    std::uint64_t sends = 0;
    std::uint64_t pdus_received = 0;
    std::uint64_t digest_errors = 0;
};

class QueuePair final : private reactor::ReadyHandler,
                        private reactor::Flushable,
                        private reactor::Runnable {
  public:
    QueuePair(reactor::Reactor& reactor, QueuePairHandler& handler, QueuePairOptions options);
    QueuePair(const QueuePair&) = delete;
    QueuePair& operator=(const QueuePair&) = delete;
    ~QueuePair();

    /// Connects, exchanges ICReq and ICResp, and sends the fabrics Connect. After an error only
    /// close() is left to do. Errors: what is wrong, as RemoteController::wait_ready says.
    Task<Result<void>> open();
    [[nodiscard]] std::uint16_t cntlid() const { return options_.cntlid; }

    [[nodiscard]] bool is_open() const { return state_ == State::Open; }
    [[nodiscard]] bool has_room() const { return state_ == State::Open && !free_.empty(); }
    [[nodiscard]] std::size_t outstanding() const { return slot_count_ - free_.size(); }
    /// Takes a command; needs has_room(). Nothing is called back before the turn goes on.
    void submit(const Command& command);
    /// Sends a command and waits for its completion. A missed deadline fails the connection: the
    /// controller does not answer, and its late data must find no buffer.
    Task<Result<CommandResult>> execute(Command command, Nanos deadline);

    /// Ends the connection for `reason`; nothing happens if it is over already.
    void fail(core::Error reason);
    /// Fails it if it is not over, shuts down, and waits at most `linger` for the controller to
    /// close its end; then closes. True: the controller answered our shutdown so, in good order.
    Task<bool> close(Nanos linger);
    /// Tokens of commands without a completion.
    template <typename F>
    void visit_outstanding(F visit) const {
        for (std::size_t i = 0; i < slot_count_; ++i) {
            if (slots_[i].busy && slots_[i].call == nullptr) {
                visit(slots_[i].token);
            }
        }
    }

    /// When bytes last came, or work began after idleness.
    [[nodiscard]] Nanos last_progress() const { return last_progress_; }
    /// When the oldest outstanding command was submitted; kNever without any.
    [[nodiscard]] Nanos oldest_submission() const { return oldest().submitted; }
    struct Oldest {
        Nanos submitted = core::kNever;
        std::uint16_t cid = 0;
    };
    [[nodiscard]] Oldest oldest() const;
    [[nodiscard]] std::uint16_t queue_id() const { return options_.queue_id; }
    [[nodiscard]] const QueuePairStats& stats() const { return stats_; }
    [[nodiscard]] std::string name() const;

  private:
    enum class State : std::uint8_t {
        Idle,       ///< Not connected yet.
        Handshake,  ///< ICReq is sent.
        Open,       ///< PDUs flow.
        Failed,     ///< What comes is thrown away until the end.
        Closed,
    };
    enum class Receiving : std::uint8_t { Header, Data, DataDigest };

    void on_ready(reactor::Readiness readiness) override;
    void flush() override;
    void run() override;  // more to receive than one turn's share

    // queue_pair.cc
    core::Error error_of(core::ErrorKind kind, const std::string& what) const;
    void fail_with(core::Error reason, const nvme::tcp::Fault* fault);
    void end_calls();
    void release_all();
    Task<Result<void>> handshake(Nanos deadline);
    Task<Result<void>> connect_queue();
    void build_capsule(Slot& slot, const Command& command);

    // queue_pair_send.cc
    void queue(Slot& slot);
    void unqueue(const Slot& slot);
    [[nodiscard]] bool queued_first(const Slot& slot) const;
    struct Gathered;
    void gather(Gathered& out) const;
    static bool gather_slot(const Slot& slot, Gathered& out);
    void consume(std::size_t bytes);
    static void consume_part(Slot& slot, std::size_t bytes);
    void prefetch_queued(std::size_t behind_first) const;
    /// Where on the ring the one is that is so many behind the first.
    [[nodiscard]] std::size_t tx_place(std::size_t behind_first) const {
        const std::size_t place = tx_first_ + behind_first;
        return place < slot_count_ ? place : place - slot_count_;
    }
    void sent(Slot& slot);
    void next_data_pdu(Slot& slot);
    void seal(Slot& slot, std::size_t header_size, std::uint32_t data_size);
    void send_term_req(const nvme::tcp::Fault& fault);

    // queue_pair_receive.cc
    void receive();
    void discard();
    std::ptrdiff_t receive_once(std::size_t& direct, std::size_t& asked);
    void place(std::size_t bytes);
    void parse(std::span<const std::byte> bytes);
    std::size_t take_header(std::span<const std::byte> bytes);
    bool decode_common(const std::byte* bytes);
    std::size_t take_data(std::span<const std::byte> bytes);
    void copy_with_digest(std::span<const std::byte> bytes);
    std::size_t take_data_digest(std::span<const std::byte> bytes);
    void header_complete(std::span<const std::byte> block);
    void data_complete();
    void deliver();

    // queue_pair_pdus.cc
    void on_ic_resp(std::span<const std::byte> block);
    void on_capsule_resp(std::span<const std::byte> block);
    void on_data(std::span<const std::byte> block);
    void on_r2t(std::span<const std::byte> block);
    void on_term_req(std::span<const std::byte> block);
    void completed(Slot& slot, const nvme::spec::Completion& entry);
    void finish(Slot& slot);
    Slot* find(std::uint16_t cid);
    void broken(nvme::tcp::FatalError status, std::size_t information, const char* what);

    reactor::Reactor& reactor_;
    QueuePairHandler& handler_;
    QueuePairOptions options_;
    State state_ = State::Idle;
    std::unique_ptr<reactor::Stream> stream_;
    core::Error reason_;
    reactor::Signal changed_;  // handshake over, or the end of the stream seen
    bool end_of_stream_ = false;
    bool orderly_end_ = false;  // and not a broken connection
    bool hangup_ = false;       // the end of the stream is behind what has not been received yet
    bool delivering_ = false;

    // Negotiated.
    nvme::tcp::FrameDecoder decoder_;
    std::uint32_t max_h2c_data_ = 0;
    std::uint32_t data_alignment_ = 4;  // CPDA
    bool flow_control_off_ = false;
    bool connected_ = false;  // Connect has succeeded

    // Commands.
    std::size_t slot_count_;
    std::unique_ptr<Slot[]> slots_;
    std::vector<std::uint16_t> free_;
    std::vector<Completion> done_;
    std::size_t large_reads_ = 0;  // outstanding
    Nanos last_progress_{};

    // Sending: a ring of slot numbers, each at most once.
    std::vector<std::uint16_t> tx_;
    std::size_t tx_first_ = 0;
    std::size_t tx_count_ = 0;
    bool tx_blocked_ = false;

    // Receiving.
    Receiving receiving_ = Receiving::Header;
    std::array<std::byte, nvme::tcp::kMaxHeaderBlock> header_{};
    std::size_t header_have_ = 0;
    Slot* data_slot_ = nullptr;
    std::size_t data_left_ = 0;
    core::Crc32c data_crc_;
    std::array<std::byte, nvme::tcp::kDigestBytes> digest_{};
    std::size_t digest_have_ = 0;

    QueuePairStats stats_;
};

}  // namespace remora::backends::nvme_tcp
