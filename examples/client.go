// Put a value and read it back, in Go: go run client.go [HOST:PORT]
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
)

const put, get, success = 650, 651, 652

// message opens with its size, itself included, and its type.
func message(kind uint16, body ...[]byte) (raw []byte) {
	raw = binary.BigEndian.AppendUint16([]byte{0, 0}, kind)
	for _, part := range body {
		raw = append(raw, part...)
	}
	binary.BigEndian.PutUint16(raw, uint16(len(raw)))
	return raw
}

func main() {
	address := append(os.Args[1:], "127.0.0.1:7401")[0]
	api, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	defer api.Close()
	key := sha256.Sum256([]byte("from go"))
	life := []byte{600 >> 8, 600 & 255, 0, 0} // seconds; as many copies as usual; reserved
	api.Write(message(put, life, key[:], []byte("good morning")))
	api.Write(message(get, key[:]))
	head := make([]byte, 4)
	if _, err = io.ReadFull(api, head); err != nil {
		panic(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head)-4) // the key, and the value if there is one
	if _, err = io.ReadFull(api, body); err != nil {
		panic(err)
	}
	if binary.BigEndian.Uint16(head[2:]) == success {
		fmt.Println(string(body[32:]))
	} else {
		fmt.Println("nothing")
	}
}
