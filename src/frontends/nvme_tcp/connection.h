// SPDX-License-Identifier: Apache-2.0
// Connection: one NVMe/TCP connection, that is one queue, on one reactor for life.
//
//   AwaitIcReq ─ICReq─► AwaitConnect ─Connect─► Connecting ─► Live
//        └───────┴──── protocol error ────┴───────┴──► Terminating ──► Closing ──► deleted
//
// Receiving: drain the socket into the reactor's staging memory, parse every PDU in place, copy
// each payload once to its buffer (a large rest is received straight into it), submit all requests
// as one batch. Sending: answers gather in `out_` during the turn and leave in one send of up to 64
// PDUs. A read's buffer is held until the send has taken its bytes.
//
// Closing: what waits is dropped; what is in the block layer is waited for; only then the socket
// is closed. Everything the peer sends is checked; what is wrong ends this connection alone.
//
// Files: connection.cc life cycle; receive.cc PDUs in; execute.cc commands; connect.cc Connect;
// fused.cc Compare and Write; uncorrectable.cc Write Uncorrectable; shard_reservations.cc
// reservation commands; census.cc what all reactors are asked; answer.cc PDUs out. NVMe/TCP
// Transport Specification 1.0 §3.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "block/request.h"
#include "core/crc32c.h"
#include "core/intrusive_list.h"
#include "frontends/nvme_tcp/reservations.h"
#include "frontends/nvme_tcp/slot.h"
#include "frontends/nvme_tcp/target.h"
#include "nvme/health.h"
#include "nvme/spec/fabrics.h"
#include "nvme/tcp/decoder.h"
#include "nvme/uncorrectable.h"
#include "reactor/io.h"
#include "reactor/reactor.h"

namespace remora::frontends::nvme_tcp {

class Association;
class Shard;
struct AttachReply;
struct HostKey;
struct OpenNamespace;
struct Port;
struct Replica;

class Connection final : public core::ListHook<>,
                         private reactor::ReadyHandler,
                         private reactor::Flushable,
                         private reactor::Runnable,
                         private reactor::TimerHandler,
                         private block::Completer {
  public:
    Connection(Shard& shard,
               std::uint64_t id,
               std::unique_ptr<reactor::Stream> stream,
               Endpoint listener);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection();

    void start();
    [[nodiscard]] std::uint64_t id() const { return id_; }
    [[nodiscard]] Replica* replica() const { return replica_; }
    /// Of its replica; null when that is.
    [[nodiscard]] Port* port() const { return port_; }
    /// Where it was accepted.
    [[nodiscard]] const Endpoint& listener() const { return listener_; }
    [[nodiscard]] const ConnectionStats& stats() const { return stats_; }
    /// An I/O queue that its controller's home has to be told the end of.
    [[nodiscard]] bool attached() const { return attached_; }

    /// Is this host's, has been ended by either side, and may still have requests.
    [[nodiscard]] bool left_by(const HostKey& host) const;

    /// Ends the connection from our side. The reason goes to the log. Any state.
    void close(const char* reason);
    /// The pool may have a buffer again.
    void retry_buffers();
    /// Answers a held Asynchronous Event Request.
    void complete_held(std::uint32_t token, std::uint16_t status, std::uint32_t dw0);
    /// Answers a held Set Features when that is done.
    void persist_reservations(std::uint32_t token, std::uint32_t nsid, bool persist);
    /// Answers a held admin command with what its controller makes of a census.
    void gather(std::uint32_t token);
    /// The commands that failed since they were taken last.
    nvme::ErrorBatch take_errors();

    /// Marks the commands in the block layer that a new reservation shuts out, and all if this
    /// host's are aborted.
    void mark_commands(const OpenNamespace& target, const std::vector<nvme::HostId>& aborted);
    [[nodiscard]] bool has_marked(const OpenNamespace& target) const;

    /// Whether a write inside the namespace's fence is in the block layer.
    [[nodiscard]] bool has_write_inside(const OpenNamespace& target) const;
    /// A fence has fallen: what waited goes on.
    void resume_fenced();

  private:
    enum class State : std::uint8_t {
        AwaitIcReq,    ///< Nothing but an ICReq may come.
        AwaitConnect,  ///< ICResp is on its way; one Connect may come.
        Connecting,    ///< The Connect asks other reactors.
        Live,          ///< A queue.
        Terminating,   ///< A TermReq is on its way; input is thrown away.
        Closing,       ///< Waiting for requests in flight; then deleted.
    };
    enum class Phase : std::uint8_t {
        Header,       ///< Collecting the bytes before the data.
        AwaitBuffer,  ///< The header is taken; its in-capsule data has no buffer yet.
        Payload,
        Digest,
    };
    /// The PDU that is being received.
    struct Incoming {
        Phase phase = Phase::Header;
        std::uint32_t have = 0;     ///< Bytes in `header`.
        std::uint32_t since = 0;    ///< Look of the watch after which the host owes the rest.
        Slot* slot = nullptr;       ///< Whose data comes; null: it is thrown away.
        std::byte* to = nullptr;    ///< Where the next payload byte goes; null: nowhere.
        std::uint32_t payload = 0;  ///< Bytes of payload, then of digest, still to come.
        core::Crc32c crc;
        std::array<std::byte, nvme::tcp::kMaxHeaderBlock> header{};
        std::array<std::byte, nvme::tcp::kDigestBytes> digest{};
    };
    using Bytes = std::span<const std::byte>;

    // connection.cc
    void on_ready(reactor::Readiness readiness) override;
    void run() override;
    void on_timer(reactor::Timer& timer) override;
    void run_later();
    void arm(Nanos delay);
    void watch_debts();
    [[nodiscard]] bool peer_stalls() const;
    void log_unfinished(const char* reason) const;
    [[nodiscard]] bool overdue(std::uint32_t since) const { return looks_ - since >= 2; }
    void fail(nvme::tcp::Fault fault, Bytes header);
    void peer_closed();
    void drop_slots();
    void end_pending_slot(Slot& slot);
    [[nodiscard]] bool closing() const { return state_ == State::Closing; }
    [[nodiscard]] bool accepts_input() const {
        return state_ != State::Closing && state_ != State::Terminating;
    }

    // receive.cc
    void receive();
    bool receive_once();
    void discard_input();
    void consume(Bytes in);
    Bytes take_header(Bytes in);
    bool decode(const std::byte* header);
    Bytes take_payload(Bytes in);
    Bytes take_digest(Bytes in);
    void payload_received(Bytes bytes);
    void begin_pdu(Bytes block);
    void end_pdu();
    void on_ic_req(Bytes block);
    void on_capsule(Bytes block);
    void on_h2c_data(Bytes block);
    void receive_into(Slot& slot, std::byte* to);
    void stash(Bytes rest);
    void resume_stashed();

    // execute.cc
    Slot* take_slot();
    void release_slot(Slot& slot);
    void release_buffer(Slot& slot);
    [[nodiscard]] bool has_share(const Slot& slot, bool in_stream) const;
    bool acquire_buffer(Slot& slot, bool in_stream);
    void start_command(Slot& slot, std::uint32_t in_capsule);
    std::expected<nvme::DataPath, std::uint16_t> plan_command(Slot& slot, std::uint32_t in_capsule);
    void refuse(Slot& slot, std::uint16_t status, std::uint32_t in_capsule);
    std::uint16_t plan_io(Slot& slot);
    std::uint16_t plan_admin(Slot& slot);
    void start_transfer(Slot& slot, nvme::DataPath path);
    void buffer_ready(Slot& slot);
    void wait_for_buffer(Slot& slot);
    void data_complete(Slot& slot);
    void execute_admin(Slot& slot);
    void execute_io(Slot& slot);
    void execute_ranges(Slot& slot, OpenNamespace& target);
    [[nodiscard]] OpenNamespace* target_of(const Slot& slot) const;
    static void prepare_request(Slot& slot);
    void submit_later(Slot& slot, OpenNamespace& target);
    void enter_block_layer(Slot& slot, OpenNamespace& target);
    void submit_batch();
    void complete(block::RequestBatch& batch) override;
    void request_done(Slot& slot);
    void count_request(const Slot& slot);

    // execute_pieces.cc
    void begin_pieces(Slot& slot, OpenNamespace& target);
    bool acquire_scratch(Slot& slot, std::uint64_t bytes);
    void release_scratch(Slot& slot);
    static void prepare_read(Slot& slot, std::uint32_t block_size);
    void read_piece(Slot& slot, OpenNamespace& target);
    void write_piece(Slot& slot, OpenNamespace& target);
    void piece_done(Slot& slot);

    // fused.cc
    struct Pair {
        Slot* first = nullptr;
        Slot* second = nullptr;
    };
    void start_fused(Slot& slot, std::uint32_t in_capsule);
    void start_second(Slot& slot, std::uint32_t in_capsule, bool expected, Slot* first);
    void abort_fused(Slot& slot, std::uint16_t status);
    void fail_command(Slot& slot, std::uint16_t status);
    void watch_fused();
    void pair_ready(Slot& slot);
    Task<> run_pair(Pair pair);
    void end_pair(const Pair& pair, std::uint16_t compared, std::uint16_t written);
    Task<std::uint16_t> compare_first(Slot& slot);
    Task<std::uint16_t> write_second(Slot& slot);
    Task<std::uint16_t> perform(Slot& slot);
    bool held_back(Slot& slot, const OpenNamespace& target);

    // uncorrectable.cc
    void begin_mark(Slot& slot);
    Task<> run_mark(Slot* slot);
    Task<std::uint16_t> mark_blocks(Slot& slot, const std::vector<OpenNamespace*>& fenced);
    bool meets_marks(Slot& slot, const OpenNamespace& target);
    void begin_rewrite(Slot& slot);
    Task<> run_rewrite(Slot* slot);
    Task<std::uint16_t> rewrite_blocks(Slot& slot, const std::vector<OpenNamespace*>& fenced);
    void end_rewrite(Slot& slot, std::uint16_t status);
    Task<std::uint16_t> store_marks(Slot& slot,
                                    nvme::UncorrectableBlocks marks,
                                    const std::vector<OpenNamespace*>& fenced);

    // shard_reservations.cc
    /// A reservation command, or Set Features, on its way over the control reactor.
    struct ReservationJob {
        enum class Kind : std::uint8_t { Report, Change, Persist };
        Kind kind = Kind::Report;
        Slot* slot = nullptr;
        NamespacePlace place;
        nvme::HostId host{};
        nvme::ReservationCommand command{};
    };
    [[nodiscard]] bool admitted(const OpenNamespace& target, const nvme::IoPlan& plan) const;
    void begin_reservation(Slot& slot, const OpenNamespace& target);
    void start_reservation(ReservationJob job);
    Task<> run_reservation(ReservationJob job);

    // census.cc
    void note_error(const Slot& slot, std::uint16_t status);
    Task<> run_census(Slot* slot);

    // connect.cc
    void start_connect(Slot& slot, std::uint32_t in_capsule);
    void run_connect(Slot& slot);
    Task<> connect_queue();
    Task<AttachReply> hold_connect();
    Task<AttachReply> attach();
    void open_controller();
    void refuse_connect(std::uint16_t status, std::uint32_t dw0);
    void refuse_parameter(std::size_t offset, bool in_data);
    void become_live(std::uint16_t cntlid);

    // answer.cc
    void answer(Slot& slot, std::uint16_t status, std::uint32_t dw0 = 0, std::uint32_t dw1 = 0);
    void answer_data(Slot& slot, std::uint32_t dw0, std::uint32_t dw1);
    void send_r2t(Slot& slot);
    void send_ic_resp(const nvme::tcp::IcReq& request);
    std::span<std::byte> write_response(std::span<std::byte> to,
                                        const Slot& slot,
                                        std::uint16_t status,
                                        std::uint32_t dw0,
                                        std::uint32_t dw1);
    void enqueue(OutPdu& out);
    void flush() override;
    void flush_once();
    void copy_loans();
    void give_back(Slot& slot);
    void sent(std::size_t bytes);
    void sent_whole(OutPdu& out);
    std::uint16_t next_sqhd();

    Shard& shard_;
    std::uint64_t id_;
    std::unique_ptr<reactor::Stream> stream_;
    Endpoint listener_;
    State state_ = State::AwaitIcReq;
    reactor::Timer timer_;
    bool connecting_ = false;  // a Connect asks other reactors; deletion waits for it
    ConnectionStats stats_;

    // What was negotiated.
    nvme::tcp::FrameDecoder decoder_;
    std::uint32_t c2h_header_block_ = 0;  // PDO of C2HData
    bool flow_control_off_ = false;

    // The queue.
    std::uint16_t qid_ = 0;
    std::uint16_t sq_head_ = 0;
    std::uint32_t depth_ = 0;
    std::uint32_t max_transfer_ = 0;
    Replica* replica_ = nullptr;          // counted as a user there
    Port* port_ = nullptr;                // and there
    Association* association_ = nullptr;  // admin queue only
    bool attached_ = false;               // I/O queue: its controller's home knows it
    std::uint16_t cntlid_ = 0;
    nvme::HostId host_id_{};
    Slot connect_slot_;
    nvme::spec::ConnectData connect_data_;
    std::unique_ptr<nvme::ErrorNotes> errors_;  // null at a discovery controller
    std::unique_ptr<Slot[]> slots_;
    core::Queue<Slot> free_;
    std::uint32_t in_flight_ = 0;    // requests in the block layer
    std::size_t held_bytes_ = 0;     // of the pool
    std::uint32_t loans_ = 0;        // that slots have
    std::size_t read_bytes_ = 0;     // of these: reads, until the socket has taken them
    std::size_t awaited_bytes_ = 0;  // of these: writes whose data the host owes
    core::Queue<Slot> waiting_;      // for a buffer, in order
    core::Queue<Slot> fenced_;       // for the end of somebody's fence, in order
    bool rewriting_ = false;         // a write clears marks; others of its kind wait in fenced_
    bool second_expected_ = false;   // the last capsule was the first of a pair
    Slot* fused_first_ = nullptr;    // that one, unless it has failed
    std::uint32_t fused_since_ = 0;  // look of the watch after which it came
    std::unique_ptr<std::byte[]> reserve_memory_;
    std::span<std::byte> reserve_;
    bool reserve_free_ = false;

    Incoming incoming_;
    bool hangup_ = false;                   // the peer ended its side: read to the end
    bool resume_ = false;                   // run() goes on receiving
    std::unique_ptr<std::byte[]> stashed_;  // staging bytes behind a PDU that waits for a buffer
    std::size_t stashed_bytes_ = 0;
    std::size_t stashed_at_ = 0;

    block::RequestBatch batch_;
    OpenNamespace* batch_target_ = nullptr;

    core::Queue<OutPdu> out_;
    std::size_t out_offset_ = 0;  // bytes of the first that are sent
    bool blocked_ = false;        // the socket takes nothing; a writable event follows
    OutPdu ic_resp_;
    OutPdu term_req_;
    std::array<std::byte, sizeof(nvme::tcp::IcResp)> ic_resp_bytes_{};
    std::array<std::byte, sizeof(nvme::tcp::TermReq) + nvme::tcp::kTermReqMaxData>
        term_req_bytes_{};
    std::uint32_t looks_ = 0;  // of the watch, one every TargetLimits::stall
};

}  // namespace remora::frontends::nvme_tcp
