// SPDX-License-Identifier: Apache-2.0
// NvmeGuest: a guest and its NVMe driver on a vfio-user socket, for tests and for bench/vfio_load.
// Guest memory in a memfd, queues in it, doorbells mapped or written by messages. Blocking calls
// with time-outs, on the caller's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nvme/spec/command.h"
#include "tests/support/vfio_client.h"

namespace remora::test {

struct NvmeGuestOptions {
    std::string path;
    std::size_t memory_bytes = std::size_t{16} << 20U;
    std::uint32_t admin_entries = 32;
    bool map_doorbells = true;  ///< Where the device offers it.
    bool msix = true;           ///< Else INTx, or:
    bool msi = false;           ///< One message.
    bool polls = false;         ///< I/O completion queues without interrupts.
};

/// The host's half of a queue pair.
struct HostQueue {
    std::uint16_t qid = 0;
    std::uint16_t cqid = 0;
    std::uint32_t entries = 0;
    std::uint64_t submissions = 0;  ///< Offsets in guest memory.
    std::uint64_t completions = 0;
    std::uint32_t tail = 0;
    std::uint32_t head = 0;  ///< Of the completion queue.
    bool phase = true;
    std::uint16_t next_cid = 0;
};

class NvmeGuest {
  public:
    /// Guest physical address of offset 0.
    static constexpr std::uint64_t kBase = 0x1'0000'0000;
    static constexpr std::uint64_t guest(std::uint64_t offset) { return kBase + offset; }

    explicit NvmeGuest(NvmeGuestOptions options);

    /// The steps of a driver; false, with error(), when one fails.
    bool connect();  ///< Version, memory, BAR 0, bus mastering, interrupts.
    bool enable();   ///< Admin queue, CC.EN, CSTS.RDY.
    bool create_queue(std::uint16_t qid, std::uint32_t entries, std::uint16_t cqid = 0);
    bool delete_queue(std::uint16_t qid);  ///< With its completion queue, if that is its own.
    /// The same guest, with its memory, at another server; its queues are as they were.
    bool move_to(const std::string& path);
    /// All of them.
    bool start(std::uint16_t queues = 1, std::uint32_t entries = 64);
    bool wait_status(std::uint32_t mask, std::uint32_t value);
    [[nodiscard]] const std::string& error() const { return error_; }

    std::uint32_t read32(std::uint64_t offset);
    bool write32(std::uint64_t offset, std::uint32_t value);
    bool write_config16(std::uint64_t offset, std::uint16_t value);

    /// Memory that nothing else uses: an offset, whole pages.
    std::uint64_t allocate(std::size_t bytes);
    [[nodiscard]] std::byte* at(std::uint64_t offset) const { return ram_->at(offset); }
    [[nodiscard]] SharedRam& ram() { return *ram_; }
    VfioClient& client() { return *client_; }
    HostQueue& queue(std::uint16_t qid) { return queues_[qid]; }

    /// Puts a command into a queue, with an id of its own, which is returned; the controller sees
    /// it after ring().
    std::uint16_t push(HostQueue& queue, nvme::spec::Command command);
    void ring(HostQueue& queue);
    /// Takes an entry if there is one, and tells the controller at the next ring_taken().
    std::optional<nvme::spec::Completion> pop(HostQueue& queue);
    void ring_taken(HostQueue& queue);
    /// As pop(), but waits for the entry.
    std::optional<nvme::spec::Completion> pop_within(HostQueue& queue, int timeout_ms = 10'000);
    std::optional<nvme::spec::Completion> wait(HostQueue& queue, int timeout_ms = 10'000);
    /// One command from start to end.
    std::optional<nvme::spec::Completion> run(HostQueue& queue, const nvme::spec::Command& command);
    std::optional<nvme::spec::Completion> admin(const nvme::spec::Command& command) {
        return run(queues_[0], command);
    }
    /// The status field, or FFFFh when nothing came.
    std::uint16_t status_of(HostQueue& queue, const nvme::spec::Command& command);

    /// A read or write of `blocks` from `lba` on, of data at `offset`, with PRPs (and a list at
    /// `list`, when more than two pages are needed).
    static nvme::spec::Command io(nvme::spec::IoOpcode opcode,
                                  std::uint64_t lba,
                                  std::uint32_t blocks,
                                  std::uint32_t nsid = 1);
    void point(nvme::spec::Command& command,
               std::uint64_t offset,
               std::uint32_t bytes,
               std::uint64_t list = 0);
    std::optional<std::vector<std::byte>> identify(std::uint8_t cns, std::uint32_t nsid = 0);

    /// Doorbell Buffer Config with two fresh pages.
    bool use_shadow_doorbells();
    void write_doorbell(std::uint32_t index, std::uint32_t value);
    [[nodiscard]] bool doorbells_mapped() const { return doorbells_ != nullptr; }
    /// Of a vector; INTx has number 0.
    [[nodiscard]] const Fd& interrupt(std::uint16_t vector) const { return interrupts_[vector]; }

  private:
    bool fail(const std::string& what);
    bool map_bar();
    bool set_up_interrupts();

    NvmeGuestOptions options_;
    std::unique_ptr<SharedRam> ram_;
    std::uint64_t next_page_ = 0;
    std::optional<VfioClient> client_;
    std::unique_ptr<SharedRam> doorbells_;
    std::uint64_t shadow_ = 0;  // offset; 0: none
    std::uint64_t events_ = 0;
    std::vector<HostQueue> queues_;
    std::vector<Fd> interrupts_;
    std::string error_;
};

}  // namespace remora::test
