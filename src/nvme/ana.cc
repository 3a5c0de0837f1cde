// SPDX-License-Identifier: Apache-2.0
#include "nvme/ana.h"

#include "nvme/log_window.h"

namespace remora::nvme {

bool read_ana_log(const AnaPort& port,
                  const Subsystem& subsystem,
                  bool groups_only,
                  std::uint64_t offset,
                  std::span<std::byte> to) {
    const std::uint32_t last = subsystem.identity().max_namespaces;
    std::uint32_t count = 0;
    for (std::uint32_t nsid = 1; !groups_only && nsid <= last; ++nsid) {
        count += subsystem.find(nsid) == nullptr ? 0U : 1U;
    }
    spec::AnaLogHeader header{};
    header.change_count = port.changes;
    header.groups = std::uint16_t{1};
    spec::AnaGroupDescriptor group{};
    group.group = kAnaGroup;
    group.namespaces = count;
    group.change_count = port.changes;
    group.state = static_cast<std::uint8_t>(port.state);
    LogWindow page(offset, to);
    page.append(header);
    page.append(group);
    for (std::uint32_t nsid = 1; count > 0 && nsid <= last; ++nsid) {
        if (subsystem.find(nsid) != nullptr) {
            page.append(spec::le32(nsid));
        }
    }
    return offset <= page.size();
}

}  // namespace remora::nvme
